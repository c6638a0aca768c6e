//! What fails, drawn from the seed: each fault begins at some moment and ends by itself.

use std::sync::atomic::Ordering;

use crate::net::{FAST, Host, Way};
use crate::outside;
use crate::world::{APISERVERS, CONTROLLERS, NODES, SCHEDULERS, USER, World, name, pause};

const PAUSE_MILLIS: usize = 3000;
const LASTS_MILLIS: usize = 15_000;
const LATE_MICROS: usize = 400_000;
const CLOCK_STEP_MILLIS: usize = 90_000;

pub(crate) async fn play(world: World, faults: usize) {
    for _ in 0..faults {
        pause(draw(&world, PAUSE_MILLIS)).await;
        tokio::spawn(fault(world.clone()));
    }
    pause(LASTS_MILLIS + PAUSE_MILLIS).await;
}

fn draw(world: &World, end: usize) -> usize {
    world.net.chance(|chance| chance.below(end))
}

fn one_of(world: &World, hosts: &[Host]) -> Host {
    hosts[draw(world, hosts.len())]
}

async fn fault(world: World) {
    let clients: Vec<Host> = [&CONTROLLERS[..], &SCHEDULERS, &NODES, &[USER]].concat();
    let (client, server) = (one_of(&world, &clients), one_of(&world, &APISERVERS));
    let lasts = 100 + draw(&world, LASTS_MILLIS);
    let between = format!("{} and {}", name(client), name(server));
    match draw(&world, 11) {
        0 => {
            say(&world, format!("nothing passes between {between} for {lasts} ms"));
            ways(&world, &[(client, server), (server, client)], Way::Held, lasts).await;
        }
        1 => {
            say(&world, format!("answers of {} to {} are held for {lasts} ms", name(server), name(client)));
            ways(&world, &[(server, client)], Way::Held, lasts).await;
        }
        2 => {
            say(&world, format!("{} is cut off for {lasts} ms", name(client)));
            let all: Vec<_> = APISERVERS.iter().flat_map(|server| [(client, *server), (*server, client)]).collect();
            ways(&world, &all, Way::Held, lasts).await;
        }
        3 => {
            say(&world, format!("all is late between {between} for {lasts} ms"));
            let late = Way::Open { late_micros: LATE_MICROS };
            ways(&world, &[(client, server), (server, client)], late, lasts).await;
        }
        4 => {
            say(&world, format!("the lines between {between} break"));
            world.net.reset(client, server);
        }
        5 => {
            say(&world, format!("{} hears nothing of the store for {lasts} ms", name(server)));
            world.set_news(server, Way::Held);
            pause(lasts).await;
            world.set_news(server, FAST);
        }
        6 => restart(&world, one_of(&world, &World::all().collect::<Vec<_>>())).await,
        7 => {
            // Leaders write the most.
            let host = one_of(&world, &[CONTROLLERS, SCHEDULERS].concat());
            let commits = 1 + draw(&world, 8);
            say(&world, format!("{} is to end with its commit {commits} from now", name(host)));
            if let Some(life) = world.life(host) {
                world.court.doom(host, commits, life.clone());
                life.cancelled().await;
                pause(draw(&world, 5000)).await;
                world.start(host);
            }
        }
        8 => {
            let percent = 1 + draw(&world, 15);
            say(&world, format!("the store does not answer {percent} of a hundred commits for {lasts} ms"));
            world.weather.unanswered.store(percent, Ordering::SeqCst);
            pause(lasts).await;
            world.weather.unanswered.store(0, Ordering::SeqCst);
        }
        9 => {
            let percent = 1 + draw(&world, 40);
            say(&world, format!("{percent} of a hundred requests are refused for {lasts} ms"));
            world.refused.store(percent, Ordering::SeqCst);
            pause(lasts).await;
            world.refused.store(0, Ordering::SeqCst);
        }
        _ => {
            let millis = i64::try_from(draw(&world, 2 * CLOCK_STEP_MILLIS)).unwrap_or(0);
            let millis = millis - i64::try_from(CLOCK_STEP_MILLIS).unwrap_or(0);
            say(&world, format!("all clocks step by {millis} ms"));
            outside::step_wall_clock(millis);
        }
    }
}

fn say(world: &World, what: String) {
    world.court.say(format!("FAULT {what}"));
}

async fn ways(world: &World, between: &[(Host, Host)], way: Way, millis: usize) {
    between.iter().for_each(|(from, to)| world.net.set(*from, *to, way));
    pause(millis).await;
    between.iter().for_each(|(from, to)| world.net.set(*from, *to, FAST));
}

async fn restart(world: &World, host: Host) {
    world.kill(host);
    pause(draw(world, 5000)).await;
    world.start(host);
}

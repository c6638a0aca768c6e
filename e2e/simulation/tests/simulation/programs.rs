//! The controllers and the scheduler as they run, but for flags, health server and the thread of their leases.

use corten_client::{CancellationToken, lease};
use corten_controllers::balancers::Rules;
use corten_controllers::certificates::flags::Signing;
use corten_controllers::controller::Settings;
use corten_controllers::networks::Networks;
use corten_controllers::run;
use corten_controllers::supervise::Down;
use corten_scheduler::configuration::Configuration;
use corten_scheduler::scheduler::{self, Instance};

use crate::net::Host;
use crate::world::{World, name};

pub(crate) async fn controllers(world: World, host: Host, life: CancellationToken) {
    let client = world.client(host, &life);
    let networks = Networks::of("10.244.0.0/16".parse().unwrap(), 24).unwrap();
    let (root_ca, signing) = ("the cluster's".into(), Signing::default());
    let settings = Settings { networks, root_ca, signing, balancers: Rules::default(), force_detach_on_timeout: true };
    let standby = run::begin(&client, settings, &life);
    lease::lead_in_place(&client, &run::lease(), &name(host), &life, move |client, leading| {
        standby.clone().lead(client, Down::default(), leading)
    })
    .await;
}

pub(crate) async fn scheduler(world: World, host: Host, life: CancellationToken) {
    let client = world.client(host, &life);
    let instance = Instance::begin(&client, Configuration::named("default-scheduler"), &life);
    lease::lead_in_place(&client, &scheduler::lease(), &name(host), &life, move |client, leading| {
        instance.lead(client, leading)
    })
    .await;
}

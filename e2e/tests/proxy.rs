//! What pods, Services and nodes serve, had through the apiserver.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

use corten_e2e::{Cluster, SOON, eventually, http_get};

const SERVE: &str = "mkdir /www; echo '<a href=\"/next\">hello</a>' > /www/index.html; exec httpd -f -p 8080 -h /www";

#[test]
fn every_kubectl_reads_pods_services_and_nodes_through_the_apiserver() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("proxied");
    ns.run_pod("web", "busybox:latest", SERVE);
    ns.ok("expose pod web --name=site --port=80 --target-port=8080");
    ns.ok("create service clusterip nobody --tcp=80:80");
    let within = format!("/api/v1/namespaces/{}", ns.name);
    let site = format!("{within}/services/site:80/proxy");
    eventually("the Service has its endpoint", SOON, || {
        let output = ns.attempt(&format!("get --raw {site}/"));
        if output.ok { Ok(()) } else { Err(output.stderr) }
    });
    for (version, kubectl) in ns.every_version() {
        for path in
            [site.clone(), format!("{within}/pods/web:8080/proxy"), format!("{within}/pods/http:web:8080/proxy")]
        {
            let page = kubectl.ok(&format!("get --raw {path}/index.html"));
            assert_eq!(page, format!("<a href=\"{path}/next\">hello</a>\n"), "{version}");
        }
        let missing = kubectl.refused(&format!("get --raw {site}/none"));
        assert!(missing.contains("could not find the requested resource") || missing.contains("404"), "{missing}");
        let nobody = kubectl.refused(&format!("get --raw {within}/services/nobody:80/proxy/"));
        assert!(nobody.contains("no endpoints available for service"), "{version}: {nobody}");
        let refused = kubectl.refused(&format!("get --raw {within}/pods/web:1/proxy/"));
        assert!(refused.contains("error trying to reach service: dial tcp"), "{version}: {refused}");
        for node in cluster.nodes() {
            let proxy = format!("/api/v1/nodes/{}/proxy", node.name);
            assert_eq!(kubectl.ok(&format!("get --raw {proxy}/healthz")), "ok", "{version} {}", node.name);
            assert!(kubectl.ok(&format!("get --raw {proxy}/stats/summary")).contains("nodeName"), "{version}");
        }
    }
}

#[test]
fn kubectl_proxy_leads_to_a_service() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("throughproxy");
    ns.run_pod("web", "busybox:latest", SERVE);
    ns.ok("expose pod web --name=site --port=80 --target-port=8080");
    let proxy = ns.start("proxy --port=0");
    let line = proxy.line("kubectl proxy listens", |line| line.starts_with("Starting to serve on "));
    let address = line.strip_prefix("Starting to serve on ").unwrap();
    let path = format!("/api/v1/namespaces/{}/services/site:80/proxy", ns.name);
    let page = eventually("the Service answers", SOON, || http_get(address, &format!("{path}/")));
    assert_eq!(page, format!("<a href=\"{path}/next\">hello</a>\n"));
    let redirect = http_get(address, &path).unwrap_err();
    assert!(redirect.contains("301"), "without a slash at the end: {redirect}");
}

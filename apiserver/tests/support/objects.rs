//! One valid object of every kind that is served, with as many of its fields as fit: what tests change and send.

use corten_api::Scope;
use corten_apiserver::registry;
use k8s_openapi::ByteString;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, IsCa, KeyPair};
use serde_json::{Value, json};

pub(crate) struct ValidObject {
    /// Where it is posted.
    pub(crate) collection: String,
    pub(crate) name: &'static str,
    pub(crate) json: Value,
}

/// A kind that is served and has no object here fails the test that asks.
pub(crate) fn one_of_each_kind() -> Vec<ValidObject> {
    let mut objects = [core(), apps(), cluster(), networking(), resource(), storage()].concat();
    let found = registry::builtin().into_iter().map(|resource| {
        let (api_version, kind) = (resource.api_version(), resource.kind());
        let is_it = |(of, _, _): &(&str, _, _)| *of == format!("{api_version} {kind}");
        let at = objects.iter().position(is_it).unwrap_or_else(|| panic!("no object of {api_version} {kind}"));
        let (_, name, mut json) = objects.swap_remove(at);
        (json["apiVersion"], json["kind"]) = (json!(api_version), json!(kind));
        json["metadata"] = json!({"name": name, "labels": {"a": "b"}, "annotations": {"x.y/z": "1"}});
        let prefix = if resource.group().is_empty() { "/api" } else { "/apis" };
        let namespace = if resource.scope() == Scope::Namespaced { "/namespaces/default" } else { "" };
        ValidObject { collection: format!("{prefix}/{api_version}{namespace}/{}", resource.plural()), name, json }
    });
    let found = found.collect();
    assert!(objects.is_empty(), "not served: {objects:?}");
    found
}

/// (apiVersion and kind, name, all but its type and metadata)
type Row = (&'static str, &'static str, Value);

const TIME: &str = "2026-01-01T00:00:00.000000Z";

fn pod() -> Value {
    json!({"serviceAccountName": "default", "nodeSelector": {"a": "b"}, "restartPolicy": "Always",
        "securityContext": {"runAsUser": 1000, "sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]},
        "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}], "volumes": [
            {"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "p", "projected": {"sources": [{"configMap": {"name": "c"}}]}}],
        "containers": [{"name": "c", "image": "i", "args": ["x"], "env": [{"name": "A", "value": "1"},
            {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "ports": [{"containerPort": 80, "name": "http"}], "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "resources": {"limits": {"cpu": 1, "memory": "64Mi"}, "requests": {"cpu": "100m"}},
            "livenessProbe": {"httpGet": {"port": "http", "path": "/"}, "periodSeconds": 5}}]})
}

fn template() -> Value {
    json!({"metadata": {"labels": {"a": "b"}}, "spec": pod()})
}

fn to_the_end() -> Value {
    let mut template = template();
    template["spec"]["restartPolicy"] = json!("Never");
    template
}

fn selector() -> Value {
    json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]})
}

fn claim() -> Value {
    json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "volumeMode": "Filesystem",
        "resources": {"requests": {"storage": "1Gi"}}, "selector": selector()})
}

fn of_node() -> Value {
    json!({"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]})
}

fn core() -> Vec<Row> {
    let subset =
        json!({"addresses": [{"ip": "10.0.0.1", "targetRef": {"kind": "Pod", "name": "p"}}], "ports": [{"port": 80}]});
    let about = json!({"kind": "Pod", "name": "p", "namespace": "default"});
    vec![
        ("v1 ConfigMap", "m", json!({"data": {"a": "b"}, "binaryData": {"c": "aGk="}})),
        ("v1 Endpoints", "m", json!({"subsets": [subset]})),
        (
            "v1 Event",
            "m",
            json!({"involvedObject": about, "reason": "R", "type": "Normal",
                "source": {"component": "c"}, "count": 1, "series": {"count": 2, "lastObservedTime": TIME}}),
        ),
        (
            "events.k8s.io/v1 Event",
            "m2",
            json!({"regarding": about, "reason": "R", "type": "Normal", "eventTime": TIME,
                "reportingController": "a.b/c", "reportingInstance": "i", "action": "A",
                "series": {"count": 2, "lastObservedTime": TIME}}),
        ),
        (
            "v1 LimitRange",
            "m",
            json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "10m"},
                "default": {"cpu": "1"}, "defaultRequest": {"cpu": "100m"}, "maxLimitRequestRatio": {"cpu": "20"}}]}}),
        ),
        ("v1 Namespace", "m", json!({"spec": {"finalizers": ["kubernetes"]}})),
        (
            "v1 Node",
            "m",
            json!({"spec": {"podCIDRs": ["10.1.0.0/24"], "podCIDR": "10.1.0.0/24",
                "taints": [{"key": "k", "effect": "NoSchedule"}]}, "status": {"capacity": {"cpu": "2"}}}),
        ),
        ("v1 PersistentVolumeClaim", "m", json!({"spec": claim()})),
        (
            "v1 PersistentVolume",
            "m",
            json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
                "persistentVolumeReclaimPolicy": "Retain", "local": {"path": "/data"},
                "nodeAffinity": {"required": of_node()}}}),
        ),
        ("v1 Pod", "m", json!({"spec": pod()})),
        ("v1 PodTemplate", "m", json!({"template": template()})),
        (
            "v1 ReplicationController",
            "m",
            json!({"spec": {"replicas": 1, "selector": {"a": "b"}, "template": template()}}),
        ),
        (
            "v1 ResourceQuota",
            "m",
            json!({"spec": {"hard": {"pods": "1k", "requests.cpu": "100", "count/jobs.batch": "5"},
                "scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "Exists"}]}}}),
        ),
        ("v1 Secret", "m", json!({"type": "Opaque", "data": {"a": "aGk="}, "stringData": {"b": "c"}})),
        ("v1 ServiceAccount", "m", json!({"secrets": [{"name": "s"}], "imagePullSecrets": [{"name": "p"}]})),
        (
            "v1 Service",
            "m",
            json!({"spec": {"type": "NodePort", "selector": {"a": "b"}, "sessionAffinity": "ClientIP",
                "ports": [{"name": "http", "port": 80, "targetPort": "http", "nodePort": 30080}],
                "externalIPs": ["203.0.113.1"]}}),
        ),
    ]
}

fn apps() -> Vec<Row> {
    let job = json!({"parallelism": 2, "completions": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 1,
        "podFailurePolicy": {"rules": [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}}]},
        "template": to_the_end()});
    let scaled = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    vec![
        ("apps/v1 ControllerRevision", "m", json!({"revision": 1, "data": {"spec": {"template": {"a": [1]}}}})),
        (
            "apps/v1 DaemonSet",
            "m",
            json!({"spec": {"selector": selector(), "template": template(),
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}}}}),
        ),
        (
            "apps/v1 Deployment",
            "m",
            json!({"spec": {"replicas": 1, "selector": selector(), "template": template(),
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}}}}),
        ),
        ("apps/v1 ReplicaSet", "m", json!({"spec": {"replicas": 1, "selector": selector(), "template": template()}})),
        (
            "apps/v1 StatefulSet",
            "m",
            json!({"spec": {"replicas": 1, "serviceName": "s", "selector": selector(), "template": template(),
                "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": claim()}],
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}}}),
        ),
        (
            "autoscaling/v1 HorizontalPodAutoscaler",
            "m",
            json!({"spec": {"scaleTargetRef": scaled, "minReplicas": 1, "maxReplicas": 5,
                "targetCPUUtilizationPercentage": 60}}),
        ),
        (
            "autoscaling/v2 HorizontalPodAutoscaler",
            "m2",
            json!({"spec": {"scaleTargetRef": scaled, "minReplicas": 1, "maxReplicas": 5,
                "metrics": [{"type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}],
                "behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}]}}}}),
        ),
        (
            "batch/v1 CronJob",
            "m",
            json!({"spec": {"schedule": "*/5 1-3 * * mon", "timeZone": "Etc/UTC", "concurrencyPolicy": "Forbid",
                "jobTemplate": {"spec": {"template": to_the_end()}}}}),
        ),
        ("batch/v1 Job", "m", json!({"spec": job})),
        ("policy/v1 PodDisruptionBudget", "m", json!({"spec": {"maxUnavailable": "20%", "selector": selector()}})),
    ]
}

fn cluster() -> Vec<Row> {
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["p"]}]);
    let subjects = json!([{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"},
        {"kind": "ServiceAccount", "name": "default", "namespace": "default"}]);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let asked = params.serialize_request(&key).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let tab = json!({"type": "object", "properties": {"spec": {"type": "object", "required": ["size"], "properties": {
        "size": {"type": "integer", "minimum": 0.5, "default": 1}, "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "names": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string", "enum": ["a", "b"]}},
        "any": {"type": "object", "additionalProperties": true}}}}});
    let role = |kind: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "m"});
    // They match nothing that there is.
    let webhook = json!({"name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "failurePolicy": "Ignore", "timeoutSeconds": 1, "objectSelector": selector(),
        "clientConfig": {"service": {"name": "s", "namespace": "n", "path": "/p"}, "caBundle": ByteString(b"x".to_vec())},
        "rules": [{"operations": ["CREATE"], "apiGroups": ["a.example"], "apiVersions": ["v1"],
            "resources": ["things/status"], "scope": "Namespaced"}]});
    let rule = json!({"operations": ["CREATE"], "apiGroups": ["a.example"], "apiVersions": ["v1"], "resources": ["things"],
        "resourceNames": ["t"], "scope": "Namespaced"});
    let about = json!({"objectSelector": selector(), "resourceRules": [rule], "excludeResourceRules": [rule]});
    let policy = |more: Value| {
        let mut spec = json!({"failurePolicy": "Ignore", "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "matchConstraints": about, "matchConditions": [{"name": "c", "expression": "false"}],
            "variables": [{"name": "v", "expression": "1"}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "spec": spec })
    };
    let binding = |more: Value| {
        let mut spec = json!({"policyName": "m", "matchResources": about,
            "paramRef": {"name": "p", "namespace": "n", "parameterNotFoundAction": "Allow"}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "spec": spec })
    };
    let changes = json!({"reinvocationPolicy": "IfNeeded", "mutations": [
        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}},
        {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'remove', path: '/x'}]"}}]});
    let judges = json!({"auditAnnotations": [{"key": "k", "valueExpression": "'v'"}],
        "validations": [{"expression": "variables.v == 1", "message": "m", "messageExpression": "'m'", "reason": "Forbidden"}]});
    vec![
        ("admissionregistration.k8s.io/v1 MutatingAdmissionPolicy", "m", policy(changes)),
        ("admissionregistration.k8s.io/v1 MutatingAdmissionPolicyBinding", "m", binding(json!({}))),
        ("admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy", "m", policy(judges)),
        (
            "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding",
            "m",
            binding(json!({"validationActions": ["Deny", "Audit"]})),
        ),
        ("admissionregistration.k8s.io/v1 MutatingWebhookConfiguration", "m", json!({"webhooks": [webhook]})),
        ("admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration", "m", json!({"webhooks": [webhook]})),
        (
            "apiextensions.k8s.io/v1 CustomResourceDefinition",
            "tabs.example.com",
            json!({"spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "tabs", "kind": "Tab", "shortNames": ["tb"]},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": tab},
                    "subresources": {"status": {}}, "selectableFields": [{"jsonPath": ".spec.size"}],
                    "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]}]}}),
        ),
        (
            "apiregistration.k8s.io/v1 APIService",
            "v1.m.example.com",
            // Of one with a Service the server would say that there is none.
            json!({"spec": {"group": "m.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10}}),
        ),
        (
            "certificates.k8s.io/v1 CertificateSigningRequest",
            "m",
            json!({"spec": {"signerName": "a.example/m", "usages": ["digital signature", "client auth"],
                "expirationSeconds": 3600, "request": ByteString(asked.pem().unwrap().into_bytes())}}),
        ),
        ("certificates.k8s.io/v1 ClusterTrustBundle", "m", json!({"spec": {"trustBundle": authority.pem()}})),
        (
            "certificates.k8s.io/v1 PodCertificateRequest",
            "m",
            json!({"spec": {"signerName": "a.example/m", "podName": "m", "podUID": "1", "serviceAccountName": "default",
                "serviceAccountUID": "2", "nodeName": "m", "nodeUID": "3",
                "stubPKCS10Request": ByteString(asked.der().to_vec())}}),
        ),
        (
            "coordination.k8s.io/v1 Lease",
            "m",
            json!({"spec": {"holderIdentity": "h", "leaseDurationSeconds": 15, "renewTime": TIME}}),
        ),
        (
            "flowcontrol.apiserver.k8s.io/v1 FlowSchema",
            "m",
            json!({"spec": {"priorityLevelConfiguration": {"name": "m"}, "matchingPrecedence": 500,
                "distinguisherMethod": {"type": "ByUser"},
                "rules": [{"subjects": [{"kind": "User", "user": {"name": "jane"}}],
                    "resourceRules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"]}]}]}}),
        ),
        (
            "flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration",
            "m",
            json!({"spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 5, "lendablePercent": 50,
                "limitResponse": {"type": "Queue", "queuing": {"queues": 16, "handSize": 4, "queueLengthLimit": 50}}}}}),
        ),
        (
            "node.k8s.io/v1 RuntimeClass",
            "m",
            json!({"handler": "h", "overhead": {"podFixed": {"cpu": "10m"}},
                "scheduling": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "k", "operator": "Exists"}]}}),
        ),
        (
            "rbac.authorization.k8s.io/v1 ClusterRole",
            "m",
            json!({"rules": rules, "aggregationRule": {"clusterRoleSelectors": [selector()]}}),
        ),
        (
            "rbac.authorization.k8s.io/v1 ClusterRoleBinding",
            "m",
            json!({"roleRef": role("ClusterRole"), "subjects": subjects}),
        ),
        ("rbac.authorization.k8s.io/v1 Role", "m", json!({"rules": rules})),
        ("rbac.authorization.k8s.io/v1 RoleBinding", "m", json!({"roleRef": role("Role"), "subjects": subjects})),
        ("scheduling.k8s.io/v1 PriorityClass", "m", json!({"value": 1000, "preemptionPolicy": "Never"})),
    ]
}

fn networking() -> Vec<Row> {
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    vec![
        (
            "discovery.k8s.io/v1 EndpointSlice",
            "m",
            json!({"addressType": "IPv4", "ports": [{"port": 80}],
                "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "hints": {"forZones": [{"name": "z"}]}}]}),
        ),
        (
            "networking.k8s.io/v1 Ingress",
            "m",
            json!({"spec": {"ingressClassName": "m", "tls": [{"hosts": ["a.example"], "secretName": "t"}],
                "rules": [{"host": "*.a.example", "http": {"paths": [
                    {"path": "/a", "pathType": "Prefix", "backend": backend}]}}]}}),
        ),
        (
            "networking.k8s.io/v1 IngressClass",
            "m",
            json!({"spec": {"controller": "a.example/c",
                "parameters": {"kind": "ConfigMap", "name": "p", "scope": "Namespace", "namespace": "default"}}}),
        ),
        (
            "networking.k8s.io/v1 IPAddress",
            "10.96.7.7",
            json!({"spec": {"parentRef": {"resource": "services", "name": "s", "namespace": "default"}}}),
        ),
        (
            "networking.k8s.io/v1 NetworkPolicy",
            "m",
            json!({"spec": {"podSelector": selector(), "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [{"namespaceSelector": {}}], "ports": [{"port": 80, "endPort": 90, "protocol": "TCP"}]}],
                "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}]}}),
        ),
        ("networking.k8s.io/v1 ServiceCIDR", "m", json!({"spec": {"cidrs": ["10.200.0.0/24", "fd00:1::/112"]}})),
    ]
}

fn resource() -> Vec<Row> {
    let expression = r#"device.driver == "d.example""#;
    let asked = json!({"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "m", "count": 1,
        "selectors": [{"cel": {"expression": expression}}]}}],
        "constraints": [{"requests": ["r"], "matchAttribute": "d.example/numa"}]}});
    vec![
        ("resource.k8s.io/v1 DeviceClass", "m", json!({"spec": {"selectors": [{"cel": {"expression": expression}}]}})),
        (
            "resource.k8s.io/v1 DeviceTaintRule",
            "m",
            json!({"spec": {"deviceSelector": {"driver": "d.example"},
                "taint": {"key": "a.example/broken", "value": "yes", "effect": "NoSchedule"}}}),
        ),
        ("resource.k8s.io/v1 ResourceClaim", "m", json!({"spec": asked})),
        ("resource.k8s.io/v1 ResourceClaimTemplate", "m", json!({"spec": {"spec": asked}})),
        (
            "resource.k8s.io/v1 ResourceSlice",
            "m",
            json!({"spec": {"driver": "d.example", "nodeName": "n",
                "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
                "devices": [{"name": "d0", "attributes": {"numa": {"int": 1}, "model": {"string": "x"}},
                    "capacity": {"memory": {"value": "1Gi"}}}]}}),
        ),
    ]
}

fn storage() -> Vec<Row> {
    vec![
        (
            "storage.k8s.io/v1 CSIDriver",
            "d.example",
            json!({"spec": {"attachRequired": true, "podInfoOnMount": true, "volumeLifecycleModes": ["Persistent"],
                "fsGroupPolicy": "File", "tokenRequests": [{"audience": "a", "expirationSeconds": 3600}]}}),
        ),
        (
            "storage.k8s.io/v1 CSINode",
            "m",
            json!({"spec": {"drivers": [{"name": "d.example", "nodeID": "n", "topologyKeys": ["a.example/zone"],
                "allocatable": {"count": 5}}]}}),
        ),
        (
            "storage.k8s.io/v1 CSIStorageCapacity",
            "m",
            json!({"storageClassName": "fast", "capacity": "1Gi", "maximumVolumeSize": "512Mi", "nodeTopology": selector()}),
        ),
        (
            "storage.k8s.io/v1 StorageClass",
            "m",
            json!({"provisioner": "d.example", "parameters": {"a": "b"}, "reclaimPolicy": "Retain",
                "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": true,
                "allowedTopologies": [{"matchLabelExpressions": [{"key": "a", "values": ["b"]}]}]}),
        ),
        (
            "storage.k8s.io/v1 VolumeAttachment",
            "m",
            json!({"spec": {"attacher": "d.example", "nodeName": "n", "source": {"persistentVolumeName": "m"}}}),
        ),
        ("storage.k8s.io/v1 VolumeAttributesClass", "m", json!({"driverName": "d.example", "parameters": {"a": "b"}})),
        (
            "storagemigration.k8s.io/v1 StorageVersionMigration",
            "m",
            json!({"spec": {"resource": {"group": "apps", "resource": "deployments"}}}),
        ),
    ]
}

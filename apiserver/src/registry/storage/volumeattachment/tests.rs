//! VolumeAttachments: sources, errors of drivers, what stays, columns.

use k8s_openapi::api::storage::v1::VolumeAttachmentStatus;

use super::*;
use crate::registry::Strategy;
use crate::registry::check::testing::{defaulted, found, found_on_update, object, prepare, row, texts};

fn with(source: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"va"}},"spec":{{"attacher":"csi.example.com","nodeName":"n1","source":{{{source}}}}}}}"#
    )
}
const BY_NAME: &str = r#""persistentVolumeName":"pv1""#;

fn inline(extra: &str) -> String {
    with(&format!(
        r#""inlineVolumeSpec":{{{extra}"accessModes":["ReadWriteOnce"],"csi":{{"driver":"csi.example.com","volumeHandle":"h"}}}}"#
    ))
}

#[test]
fn bad_attachments() {
    let both = format!(r#"{BY_NAME},"inlineVolumeSpec":{{}}"#);
    let cases = [
        (with(BY_NAME), vec![]),
        (
            with(&BY_NAME.replace("pv1", "")),
            vec!["spec.source.persistentVolumeName: Required value: must specify non empty persistentVolumeName"],
        ),
        (
            with(""),
            vec!["spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"],
        ),
        (
            with(&both),
            vec!["spec.source: Forbidden: must specify exactly one of inlineVolumeSpec and persistentVolumeName"],
        ),
        (with(BY_NAME).replace("csi.example.com", ""), vec!["spec.attacher: Required value"]),
        (
            with(BY_NAME).replace("csi.example.com", &"a".repeat(64)),
            vec!["spec.attacher: Too long: may not be more than 63 bytes"],
        ),
        (with(BY_NAME).replace("csi.example.com", "CSI.Example.Com"), vec![]),
    ];
    for (json, expected) in cases {
        assert_eq!(found::<VolumeAttachment>(&json), expected, "{json}");
    }
    for (json, expected) in [
        (with(BY_NAME).replace("pv1", "P_"), r#"spec.source.persistentVolumeName: Invalid value: "P_""#),
        (with(BY_NAME).replace("n1", ""), r#"spec.nodeName: Invalid value: """#),
        (with(BY_NAME).replace("csi.example.com", "a_b"), r#"spec.attacher: Invalid value: "a_b""#),
    ] {
        let found = found::<VolumeAttachment>(&json);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{json}: {found:?}");
    }
}

#[test]
fn a_volume_without_an_object_is_a_drivers() {
    const AT: &str = "spec.source.inlineVolumeSpec";
    let cases = [
        ("", vec![]),
        (r#""persistentVolumeReclaimPolicy":"Retain","volumeMode":"Filesystem","#, vec![]),
        (
            r#""claimRef":{},"capacity":{"storage":"1"},"nodeAffinity":{},"storageClassName":"c","#,
            vec![
                ".claimRef: Forbidden: may not be specified in the context of inline volumes",
                ".capacity: Forbidden: may not be specified in the context of inline volumes",
                ".nodeAffinity: Forbidden: may not be specified in the context of inline volumes",
                ".storageClassName: Forbidden: may not be specified in the context of inline volumes",
            ],
        ),
        (
            r#""persistentVolumeReclaimPolicy":"Delete","volumeMode":"Block","#,
            vec![
                ".persistentVolumeReclaimPolicy: Forbidden: may only be Retain in the context of inline volumes",
                ".volumeMode: Forbidden: may not specify volumeMode other than Filesystem in the context of inline volumes",
            ],
        ),
        (r#""nfs":{"server":"s","path":"/"},"#, vec![".csi: Forbidden: may not specify more than 1 volume type"]),
    ];
    for (extra, expected) in cases {
        let expected: Vec<String> = expected.iter().map(|text| format!("{AT}{text}")).collect();
        assert_eq!(found::<VolumeAttachment>(&inline(extra)), expected, "{extra}");
    }
    let bare = found::<VolumeAttachment>(&with(r#""inlineVolumeSpec":{}"#));
    let expected = [
        format!("{AT}.accessModes: Required value"),
        format!("{AT}.csi: Required value: has to be specified in the context of inline volumes"),
    ];
    assert_eq!(bare, expected);
    let modes = inline("").replace(r#"["ReadWriteOnce"]"#, r#"["ReadWriteOnce","ReadWriteOncePod"]"#);
    let expected = format!("{AT}.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes");
    assert_eq!(found::<VolumeAttachment>(&modes), [expected]);
    let odd = inline("").replace(r#"["ReadWriteOnce"]"#, r#"["Odd"]"#);
    assert!(found::<VolumeAttachment>(&odd)[0].starts_with(&format!(r#"{AT}.accessModes: Unsupported value: "Odd""#)));
    let secret = inline("").replace(r#""volumeHandle":"h""#, r#""nodePublishSecretRef":{},"volumeHandle":"""#);
    let expected = ["volumeHandle", "nodePublishSecretRef.name", "nodePublishSecretRef.namespace"];
    assert_eq!(found::<VolumeAttachment>(&secret), expected.map(|field| format!("{AT}.csi.{field}: Required value")));
}

#[test]
fn what_is_wished_stays() {
    let other = with(BY_NAME).replace("n1", "n2");
    let changed = found_on_update::<VolumeAttachment>(&with(BY_NAME), &other);
    assert!(changed.len() == 1 && changed[0].starts_with("spec: Invalid value: {"), "{changed:?}");
    assert!(changed[0].ends_with(": field is immutable"), "{changed:?}");
    let labelled = with(BY_NAME).replace(r#""name":"va""#, r#""name":"va","labels":{"a":"b"}"#);
    assert!(found_on_update::<VolumeAttachment>(&with(BY_NAME), &labelled).is_empty());
}

#[test]
fn the_status_is_the_attachers() {
    let mut new: VolumeAttachment = defaulted(&with(BY_NAME));
    new.status = Some(VolumeAttachmentStatus { attached: true, ..Default::default() });
    prepare(Strategy::Create, &mut new);
    assert_eq!(new.status, Some(VolumeAttachmentStatus::default()));
    let old = new.clone();
    let mut written: VolumeAttachment =
        object(r#"{"metadata":{"name":"va","labels":{"a":"b"}},"status":{"attached":true}}"#);
    prepare(Strategy::Status(&old), &mut written);
    assert_eq!((&written.spec, &written.metadata), (&old.spec, &old.metadata));
    assert!(written.status.as_ref().is_some_and(|status| status.attached));
    let mut later = old.clone();
    prepare(Strategy::Update(&written), &mut later);
    assert_eq!(later.status, written.status);
}

#[test]
fn what_a_driver_says_is_bounded() {
    let found = |status: &str| {
        let attachment: VolumeAttachment = object(&format!(r#"{{"status":{{"attached":false,{status}}}}}"#));
        let mut problems = Problems::default();
        attachment.validate_status(&VolumeAttachment::default(), &mut problems);
        texts(&problems)
    };
    let error =
        |bytes: usize, code: i32| format!(r#""attachError":{{"message":"{}","errorCode":{code}}}"#, "x".repeat(bytes));
    assert!(found(&error(1024, 8)).is_empty());
    assert_eq!(
        found(&error(1025, -1)),
        [
            "status.attachError.message: Too long: may not be more than 1024 bytes",
            "status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ]
    );
    let metadata = |bytes: usize| format!(r#""attachmentMetadata":{{"k":"{}"}}"#, "x".repeat(bytes - 1));
    assert!(found(&metadata(256 << 10)).is_empty());
    let too_long = ["status.attachmentMetadata: Too long: may not be more than 262144 bytes"];
    assert_eq!(found(&metadata((256 << 10) + 1)), too_long);
}

#[test]
fn columns() {
    let json = with(BY_NAME).replacen('{', r#"{"status":{"attached":true},"#, 1);
    assert_eq!(row::<VolumeAttachment>(&json, 0), "va|csi.example.com|pv1|n1|true|<unknown>");
    assert_eq!(row::<VolumeAttachment>("{}", 0), "||||false|<unknown>");
}

//! What may be a name, a label, a port name; and how new names are made.
//!
//! Rules: <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>.

use rand::seq::IndexedRandom;

/// Letters and digits of generated suffixes: no vowels (no words), nothing that looks like another.
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LEN: usize = 5;
/// The longest base that `generateName` keeps before it adds its suffix.
pub const GENERATED_BASE_MAX: usize = 63 - SUFFIX_LEN;

pub const DNS1123_LABEL_WHY: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
pub const DNS1123_SUBDOMAIN_WHY: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
pub const DNS1035_LABEL_WHY: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
pub const LABEL_VALUE_WHY: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
pub const QUALIFIED_NAME_WHY: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

fn framed(s: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let b = s.as_bytes();
    match (b.first(), b.last()) {
        (Some(&first), Some(&last)) => edge(first) && edge(last) && b.iter().all(|&c| inner(c)),
        _ => false,
    }
}
fn lower_alnum(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// RFC 1123 label: at most 63 of `[a-z0-9-]`, alphanumeric at both ends.
pub fn is_dns1123_label(s: &str) -> bool {
    s.len() <= 63 && framed(s, lower_alnum, |c| lower_alnum(c) || c == b'-')
}
/// RFC 1123 subdomain: dot-separated labels, at most 253 bytes.
pub fn is_dns1123_subdomain(s: &str) -> bool {
    s.len() <= 253 && s.split('.').all(|part| framed(part, lower_alnum, |c| lower_alnum(c) || c == b'-'))
}
/// RFC 1035 label: as RFC 1123, but starts with a letter. Services are named so.
pub fn is_dns1035_label(s: &str) -> bool {
    is_dns1123_label(s) && s.as_bytes()[0].is_ascii_lowercase()
}
/// IANA_SVC_NAME: at most 15 of `[a-z0-9-]` with a letter, no `--`, no `-` at an end. Port names are so.
pub fn is_port_name(s: &str) -> bool {
    s.len() <= 15
        && framed(s, lower_alnum, |c| lower_alnum(c) || c == b'-')
        && s.bytes().any(|c| c.is_ascii_lowercase())
        && !s.contains("--")
}
pub fn is_label_value(s: &str) -> bool {
    s.is_empty() || is_name_part(s)
}
fn is_name_part(s: &str) -> bool {
    s.len() <= 63 && framed(s, |c| c.is_ascii_alphanumeric(), |c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
}
/// `[prefix/]name`: label keys, annotation keys, finalizers, taint keys, resource names.
pub fn is_qualified_name(s: &str) -> bool {
    match s.split_once('/') {
        Some((prefix, name)) => is_dns1123_subdomain(prefix) && is_name_part(name),
        None => is_name_part(s),
    }
}
/// Environment variable names: any printable ASCII but `=`.
pub fn is_env_var_name(s: &str) -> bool {
    !s.is_empty() && s.bytes().all(|c| (b' '..=b'~').contains(&c) && c != b'=')
}
/// Keys of ConfigMaps and Secrets: file names, at most 253 of `[-._a-zA-Z0-9]`.
pub fn is_config_key(s: &str) -> bool {
    !s.is_empty()
        && s.len() <= 253
        && s.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
        && s != "."
        && !s.starts_with("..")
}

/// A random suffix such as `x7k2p`.
pub fn suffix() -> String {
    let mut rng = rand::rng();
    (0..SUFFIX_LEN).map(|_| char::from(*SUFFIX_ALPHABET.choose(&mut rng).unwrap_or(&b'x'))).collect()
}
/// A name for `generateName: base`.
pub fn generate(base: &str) -> String {
    let end = base.floor_char_boundary(GENERATED_BASE_MAX);
    format!("{}{}", &base[..end], suffix())
}
/// A hash printed in the suffix alphabet, so that it can stand in names and labels without making words.
pub fn safe_encode(hash: u32) -> String {
    hash.to_string().bytes().map(|c| char::from(SUFFIX_ALPHABET[usize::from(c) % SUFFIX_ALPHABET.len()])).collect()
}
/// FNV-1a, 32 bits: stable between releases and machines, which is all that name hashes need.
pub fn fnv32a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_table() {
        let long = "a".repeat(64);
        let cases: &[(&str, bool, bool, bool)] = &[
            // name, label, subdomain, 1035 label
            ("web", true, true, true),
            ("1web", true, true, false),
            ("my-web", true, true, true),
            ("web.example", false, true, false),
            ("my-web.example", false, true, false),
            ("Web", false, false, false),
            ("-web", false, false, false),
            ("web-", false, false, false),
            ("a..b", false, false, false),
            ("", false, false, false),
            (&long, false, true, false),
        ];
        for (s, label, subdomain, rfc1035) in cases {
            assert_eq!(
                (is_dns1123_label(s), is_dns1123_subdomain(s), is_dns1035_label(s)),
                (*label, *subdomain, *rfc1035),
                "{s:?}"
            );
        }
    }

    #[test]
    fn names_of_variables_table() {
        let cases = [
            ("HOME", true),
            ("data-1", true),
            ("a b~", true),
            ("", false),
            ("A=B", false),
            ("\t", false),
            ("é", false),
        ];
        for (name, good) in cases {
            assert_eq!(is_env_var_name(name), good, "{name:?}");
        }
    }

    /// The published vectors of FNV-1a: <http://www.isthe.com/chongo/tech/comp/fnv/>.
    #[test]
    fn the_hash_is_fnv_1a() {
        for (text, hash) in [("", 0x811c_9dc5), ("a", 0xe40c_292c), ("foobar", 0xbf9c_f968)] {
            assert_eq!(fnv32a(text.as_bytes()), hash, "{text:?}");
        }
    }

    #[test]
    fn names_are_as_long_as_the_rules_allow_and_no_longer() {
        type Rule = fn(&str) -> bool;
        let cases: [(&str, Rule, usize); 5] = [
            ("label", is_dns1123_label, 63),
            ("subdomain", is_dns1123_subdomain, 253),
            ("port", is_port_name, 15),
            ("label value", is_label_value, 63),
            ("key of a ConfigMap", is_config_key, 253),
        ];
        for (what, is_name, most) in cases {
            assert!(is_name(&"a".repeat(most)) && !is_name(&"a".repeat(most + 1)), "{what}");
        }
    }

    /// ReplicaSets of one template keep their names from release to release.
    #[test]
    fn a_hash_is_spelled_digit_by_digit_in_the_suffix_alphabet() {
        assert_eq!(safe_encode(1_234_567_890), "56789bcdf4");
    }

    #[test]
    fn keys_and_ports() {
        assert!(is_qualified_name("app.kubernetes.io/name") && is_qualified_name("app") && !is_qualified_name("a/b/c"));
        assert!(is_label_value("") && is_label_value("v1.2_x") && !is_label_value("-x"));
        assert!(
            is_port_name("http")
                && is_port_name("http-2")
                && !is_port_name("8080")
                && !is_port_name("a--b")
                && !is_port_name("sixteen-letters-")
        );
        assert!(is_config_key("nginx.conf") && !is_config_key("..") && !is_config_key("a/b"));
    }

    #[test]
    fn generated_names_fit_a_label() {
        let name = generate(&"x".repeat(100));
        assert_eq!(name.len(), 63);
        assert!(is_dns1123_label(&generate("web-")));
        assert_ne!(generate("web-"), generate("web-"), "27^5 suffixes");
    }
}

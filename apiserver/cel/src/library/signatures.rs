//! What functions take and give, one overload a line: `id = receiver ~ name(arguments) -> result`.
//!
//! Ids are cel-go's and Kubernetes' own: costs go by them. Single capital letters stand for any one type.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::Library;
use crate::types::Type;

#[derive(Debug)]
pub(crate) struct Overload {
    pub(crate) id: &'static str,
    pub(crate) library: Library,
    pub(crate) is_member: bool,
    /// With the receiver first.
    pub(crate) args: Vec<Type>,
    pub(crate) result: Type,
    /// How many types it leaves open.
    pub(crate) params: u32,
}

/// All of a function's, whatever library they are in.
pub(crate) fn overloads(function: &str) -> &'static [Overload] {
    static TABLE: LazyLock<BTreeMap<&'static str, Vec<Overload>>> = LazyLock::new(table);
    TABLE.get(function).map_or(&[], Vec::as_slice)
}

const STANDARD: &str = "
conditional = _?_:_(bool, A, A) -> A
logical_and = _&&_(bool, bool) -> bool
logical_or = _||_(bool, bool) -> bool
logical_not = !_(bool) -> bool
not_strictly_false = @not_strictly_false(bool) -> bool
equals = _==_(A, A) -> bool
not_equals = _!=_(A, A) -> bool
add_bytes = _+_(bytes, bytes) -> bytes
add_double = _+_(double, double) -> double
add_duration_duration = _+_(duration, duration) -> duration
add_duration_timestamp = _+_(duration, timestamp) -> timestamp
add_timestamp_duration = _+_(timestamp, duration) -> timestamp
add_int64 = _+_(int, int) -> int
add_list = _+_(list(A), list(A)) -> list(A)
add_string = _+_(string, string) -> string
add_uint64 = _+_(uint, uint) -> uint
subtract_double = _-_(double, double) -> double
subtract_duration_duration = _-_(duration, duration) -> duration
subtract_int64 = _-_(int, int) -> int
subtract_timestamp_duration = _-_(timestamp, duration) -> timestamp
subtract_timestamp_timestamp = _-_(timestamp, timestamp) -> duration
subtract_uint64 = _-_(uint, uint) -> uint
multiply_double = _*_(double, double) -> double
multiply_int64 = _*_(int, int) -> int
multiply_uint64 = _*_(uint, uint) -> uint
divide_double = _/_(double, double) -> double
divide_int64 = _/_(int, int) -> int
divide_uint64 = _/_(uint, uint) -> uint
modulo_int64 = _%_(int, int) -> int
modulo_uint64 = _%_(uint, uint) -> uint
negate_double = -_(double) -> double
negate_int64 = -_(int) -> int
index_list = _[_](list(A), int) -> A
index_map = _[_](map(A, B), A) -> B
in_list = @in(A, list(A)) -> bool
in_map = @in(A, map(A, B)) -> bool
size_string = size(string) -> int
size_bytes = size(bytes) -> int
size_list = size(list(A)) -> int
size_map = size(map(A, B)) -> int
string_size = string ~ size() -> int
bytes_size = bytes ~ size() -> int
list_size = list(A) ~ size() -> int
map_size = map(A, B) ~ size() -> int
type = type(A) -> type(A)
to_dyn = dyn(A) -> dyn
bool_to_bool = bool(bool) -> bool
string_to_bool = bool(string) -> bool
bytes_to_bytes = bytes(bytes) -> bytes
string_to_bytes = bytes(string) -> bytes
double_to_double = double(double) -> double
int64_to_double = double(int) -> double
string_to_double = double(string) -> double
uint64_to_double = double(uint) -> double
duration_to_duration = duration(duration) -> duration
int64_to_duration = duration(int) -> duration
string_to_duration = duration(string) -> duration
int64_to_int64 = int(int) -> int
double_to_int64 = int(double) -> int
duration_to_int64 = int(duration) -> int
string_to_int64 = int(string) -> int
timestamp_to_int64 = int(timestamp) -> int
uint64_to_int64 = int(uint) -> int
string_to_string = string(string) -> string
bool_to_string = string(bool) -> string
bytes_to_string = string(bytes) -> string
double_to_string = string(double) -> string
duration_to_string = string(duration) -> string
int64_to_string = string(int) -> string
timestamp_to_string = string(timestamp) -> string
uint64_to_string = string(uint) -> string
timestamp_to_timestamp = timestamp(timestamp) -> timestamp
int64_to_timestamp = timestamp(int) -> timestamp
string_to_timestamp = timestamp(string) -> timestamp
uint64_to_uint64 = uint(uint) -> uint
double_to_uint64 = uint(double) -> uint
int64_to_uint64 = uint(int) -> uint
string_to_uint64 = uint(string) -> uint
contains_string = string ~ contains(string) -> bool
ends_with_string = string ~ endsWith(string) -> bool
starts_with_string = string ~ startsWith(string) -> bool
matches = matches(string, string) -> bool
matches_string = string ~ matches(string) -> bool
";

/// Each is of a timestamp, with or without a zone.
const TIMESTAMP_PARTS: &[(&str, &str, &str)] = &[
    ("getFullYear", "timestamp_to_year", "timestamp_to_year_with_tz"),
    ("getMonth", "timestamp_to_month", "timestamp_to_month_with_tz"),
    ("getDayOfYear", "timestamp_to_day_of_year", "timestamp_to_day_of_year_with_tz"),
    ("getDayOfMonth", "timestamp_to_day_of_month", "timestamp_to_day_of_month_with_tz"),
    ("getDate", "timestamp_to_day_of_month_1_based", "timestamp_to_day_of_month_1_based_with_tz"),
    ("getDayOfWeek", "timestamp_to_day_of_week", "timestamp_to_day_of_week_with_tz"),
    ("getHours", "timestamp_to_hours", "timestamp_to_hours_with_tz"),
    ("getMinutes", "timestamp_to_minutes", "timestamp_to_minutes_with_tz"),
    ("getSeconds", "timestamp_to_seconds", "timestamp_to_seconds_with_tz"),
    ("getMilliseconds", "timestamp_to_milliseconds", "timestamp_to_milliseconds_with_tz"),
];
const DURATIONS: &str = "
duration_to_hours = duration ~ getHours() -> int
duration_to_minutes = duration ~ getMinutes() -> int
duration_to_seconds = duration ~ getSeconds() -> int
duration_to_milliseconds = duration ~ getMilliseconds() -> int
";

const STRINGS: &str = "
string_char_at_int = string ~ charAt(int) -> string
string_index_of_string = string ~ indexOf(string) -> int
string_index_of_string_int = string ~ indexOf(string, int) -> int
string_last_index_of_string = string ~ lastIndexOf(string) -> int
string_last_index_of_string_int = string ~ lastIndexOf(string, int) -> int
string_lower_ascii = string ~ lowerAscii() -> string
string_upper_ascii = string ~ upperAscii() -> string
string_replace_string_string = string ~ replace(string, string) -> string
string_replace_string_string_int = string ~ replace(string, string, int) -> string
string_split_string = string ~ split(string) -> list(string)
string_split_string_int = string ~ split(string, int) -> list(string)
string_substring_int = string ~ substring(int) -> string
string_substring_int_int = string ~ substring(int, int) -> string
string_trim = string ~ trim() -> string
string_format = string ~ format(list(dyn)) -> string
strings_quote = strings.quote(string) -> string
list_join = list(string) ~ join() -> string
list_join_string = list(string) ~ join(string) -> string
";
const REGEX: &str = "
string_find_string = string ~ find(string) -> string
string_find_all_string = string ~ findAll(string) -> list(string)
string_find_all_string_int = string ~ findAll(string, int) -> list(string)
";
const LISTS: &str = "
list_a_index_of_int = list(A) ~ indexOf(A) -> int
list_a_last_index_of_int = list(A) ~ lastIndexOf(A) -> int
";
const URL: &str = "
string_to_url = url(string) -> kubernetes.URL
is_url_string = isURL(string) -> bool
url_get_scheme = kubernetes.URL ~ getScheme() -> string
url_get_host = kubernetes.URL ~ getHost() -> string
url_get_hostname = kubernetes.URL ~ getHostname() -> string
url_get_port = kubernetes.URL ~ getPort() -> string
url_get_escaped_path = kubernetes.URL ~ getEscapedPath() -> string
url_get_query = kubernetes.URL ~ getQuery() -> map(string, list(string))
";
const AUTHORIZER: &str = "
authorizer_path = kubernetes.authorization.Authorizer ~ path(string) -> kubernetes.authorization.PathCheck
authorizer_group = kubernetes.authorization.Authorizer ~ group(string) -> kubernetes.authorization.GroupCheck
authorizer_serviceaccount = kubernetes.authorization.Authorizer ~ serviceAccount(string, string) -> kubernetes.authorization.Authorizer
groupcheck_resource = kubernetes.authorization.GroupCheck ~ resource(string) -> kubernetes.authorization.ResourceCheck
resourcecheck_subresource = kubernetes.authorization.ResourceCheck ~ subresource(string) -> kubernetes.authorization.ResourceCheck
resourcecheck_namespace = kubernetes.authorization.ResourceCheck ~ namespace(string) -> kubernetes.authorization.ResourceCheck
resourcecheck_name = kubernetes.authorization.ResourceCheck ~ name(string) -> kubernetes.authorization.ResourceCheck
pathcheck_check = kubernetes.authorization.PathCheck ~ check(string) -> kubernetes.authorization.Decision
resourcecheck_check = kubernetes.authorization.ResourceCheck ~ check(string) -> kubernetes.authorization.Decision
decision_errored = kubernetes.authorization.Decision ~ errored() -> bool
decision_error = kubernetes.authorization.Decision ~ error() -> string
decision_allowed = kubernetes.authorization.Decision ~ allowed() -> bool
decision_reason = kubernetes.authorization.Decision ~ reason() -> string
";
const SELECTORS: &str = "
authorizer_fieldselector = kubernetes.authorization.ResourceCheck ~ fieldSelector(string) -> kubernetes.authorization.ResourceCheck
authorizer_labelselector = kubernetes.authorization.ResourceCheck ~ labelSelector(string) -> kubernetes.authorization.ResourceCheck
";
const OPTIONAL: &str = "
optional_of = optional.of(V) -> optional_type(V)
optional_ofNonZeroValue = optional.ofNonZeroValue(V) -> optional_type(V)
optional_none = optional.none() -> optional_type(V)
optional_value = optional_type(V) ~ value() -> V
optional_hasValue = optional_type(V) ~ hasValue() -> bool
optional_or_optional = optional_type(V) ~ or(optional_type(V)) -> optional_type(V)
optional_orValue_value = optional_type(V) ~ orValue(V) -> V
select_optional_field = _?._(dyn, string) -> optional_type(V)
list_optindex_optional_int = _[?_](list(V), int) -> optional_type(V)
optional_list_optindex_optional_int = _[?_](optional_type(list(V)), int) -> optional_type(V)
map_optindex_optional_value = _[?_](map(K, V), K) -> optional_type(V)
optional_map_optindex_optional_value = _[?_](optional_type(map(K, V)), K) -> optional_type(V)
optional_list_index_int = _[_](optional_type(list(V)), int) -> optional_type(V)
optional_map_index_value = _[_](optional_type(map(K, V)), K) -> optional_type(V)
list_last = list(V) ~ last() -> optional_type(V)
list_first = list(V) ~ first() -> optional_type(V)
optional_unwrap = optional.unwrap(list(optional_type(V))) -> list(V)
optional_unwrapOpt = list(optional_type(V)) ~ unwrapOpt() -> list(V)
";
const QUANTITY: &str = "
string_to_quantity = quantity(string) -> kubernetes.Quantity
is_quantity_string = isQuantity(string) -> bool
quantity_sign = sign(kubernetes.Quantity) -> int
quantity_is_greater_than = kubernetes.Quantity ~ isGreaterThan(kubernetes.Quantity) -> bool
quantity_is_less_than = kubernetes.Quantity ~ isLessThan(kubernetes.Quantity) -> bool
quantity_compare_to = kubernetes.Quantity ~ compareTo(kubernetes.Quantity) -> int
quantity_get_float = kubernetes.Quantity ~ asApproximateFloat() -> double
quantity_get_int = kubernetes.Quantity ~ asInteger() -> int
quantity_is_integer = kubernetes.Quantity ~ isInteger() -> bool
quantity_add = kubernetes.Quantity ~ add(kubernetes.Quantity) -> kubernetes.Quantity
quantity_add_int = kubernetes.Quantity ~ add(int) -> kubernetes.Quantity
quantity_sub = kubernetes.Quantity ~ sub(kubernetes.Quantity) -> kubernetes.Quantity
quantity_sub_int = kubernetes.Quantity ~ sub(int) -> kubernetes.Quantity
";
const SETS: &str = "
list_sets_contains_list = sets.contains(list(T), list(T)) -> bool
list_sets_equivalent_list = sets.equivalent(list(T), list(T)) -> bool
list_sets_intersects_list = sets.intersects(list(T), list(T)) -> bool
";
const NET: &str = "
string_to_ip = ip(string) -> net.IP
ip_family = net.IP ~ family() -> int
ip_is_canonical = ip.isCanonical(string) -> bool
ip_is_unspecified = net.IP ~ isUnspecified() -> bool
ip_is_loopback = net.IP ~ isLoopback() -> bool
ip_is_link_local_multicast = net.IP ~ isLinkLocalMulticast() -> bool
ip_is_link_local_unicast = net.IP ~ isLinkLocalUnicast() -> bool
ip_is_global_unicast = net.IP ~ isGlobalUnicast() -> bool
is_ip = isIP(string) -> bool
ip_to_string = string(net.IP) -> string
string_to_cidr = cidr(string) -> net.CIDR
cidr_contains_ip_string = net.CIDR ~ containsIP(string) -> bool
cidr_contains_ip_ip = net.CIDR ~ containsIP(net.IP) -> bool
cidr_contains_cidr_string = net.CIDR ~ containsCIDR(string) -> bool
cidr_contains_cidr = net.CIDR ~ containsCIDR(net.CIDR) -> bool
cidr_ip = net.CIDR ~ ip() -> net.IP
cidr_prefix_length = net.CIDR ~ prefixLength() -> int
cidr_masked = net.CIDR ~ masked() -> net.CIDR
is_cidr = isCIDR(string) -> bool
cidr_to_string = string(net.CIDR) -> string
";
const FORMAT: &str = "
format-validate = kubernetes.NamedFormat ~ validate(string) -> optional_type(list(string))
format-named = format.named(string) -> optional_type(kubernetes.NamedFormat)
format.dns1123Label = format.dns1123Label() -> kubernetes.NamedFormat
format.dns1123Subdomain = format.dns1123Subdomain() -> kubernetes.NamedFormat
format.dns1035Label = format.dns1035Label() -> kubernetes.NamedFormat
format.qualifiedName = format.qualifiedName() -> kubernetes.NamedFormat
format.dns1123LabelPrefix = format.dns1123LabelPrefix() -> kubernetes.NamedFormat
format.dns1123SubdomainPrefix = format.dns1123SubdomainPrefix() -> kubernetes.NamedFormat
format.dns1035LabelPrefix = format.dns1035LabelPrefix() -> kubernetes.NamedFormat
format.labelValue = format.labelValue() -> kubernetes.NamedFormat
format.uri = format.uri() -> kubernetes.NamedFormat
format.uuid = format.uuid() -> kubernetes.NamedFormat
format.byte = format.byte() -> kubernetes.NamedFormat
format.date = format.date() -> kubernetes.NamedFormat
format.datetime = format.datetime() -> kubernetes.NamedFormat
";
const TWO_VARIABLES: &str = "
@mapInsert_map_key_value = cel.@mapInsert(map(K, V), K, V) -> map(K, V)
@mapInsert_map_map = cel.@mapInsert(map(K, V), map(K, V)) -> map(K, V)
";
const SEMVER: &str = "
string_to_semver = semver(string) -> kubernetes.Semver
string_bool_to_semver = semver(string, bool) -> kubernetes.Semver
is_semver_string = isSemver(string) -> bool
is_semver_string_bool = isSemver(string, bool) -> bool
semver_is_greater_than = kubernetes.Semver ~ isGreaterThan(kubernetes.Semver) -> bool
semver_is_less_than = kubernetes.Semver ~ isLessThan(kubernetes.Semver) -> bool
semver_compare_to = kubernetes.Semver ~ compareTo(kubernetes.Semver) -> int
semver_major = kubernetes.Semver ~ major() -> int
semver_minor = kubernetes.Semver ~ minor() -> int
semver_patch = kubernetes.Semver ~ patch() -> int
";
const MORE_LISTS: &str = "
list_slice = list(T) ~ slice(int, int) -> list(T)
list_flatten = list(list(T)) ~ flatten() -> list(T)
list_flatten_int = list(dyn) ~ flatten(int) -> list(dyn)
lists_range = lists.range(int) -> list(int)
list_reverse = list(T) ~ reverse() -> list(T)
list_distinct = list(T) ~ distinct() -> list(T)
";
const JSON_PATCH: &str = "string_jsonpatch_escapeKey_string = jsonpatch.escapeKey(string) -> string";

const COMPARED: &[&str] = &["int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes"];
const SUMMED: &[&str] = &["int", "uint", "double", "duration"];
const ORDERS: &[(&str, &str)] =
    &[("_<_", "less"), ("_<=_", "less_equals"), ("_>_", "greater"), ("_>=_", "greater_equals")];
const NUMBERS: &[(&str, &str)] = &[("int", "int64"), ("uint", "uint64"), ("double", "double")];

type Table = BTreeMap<&'static str, Vec<Overload>>;

fn table() -> Table {
    let mut table = Table::new();
    let texts = [
        (Library::Standard, STANDARD),
        (Library::Standard, DURATIONS),
        (Library::Strings, STRINGS),
        (Library::Regex, REGEX),
        (Library::Lists, LISTS),
        (Library::Url, URL),
        (Library::Authorizer, AUTHORIZER),
        (Library::Selectors, SELECTORS),
        (Library::Optional, OPTIONAL),
        (Library::Quantity, QUANTITY),
        (Library::Sets, SETS),
        (Library::Net, NET),
        (Library::Format, FORMAT),
        (Library::TwoVariables, TWO_VARIABLES),
        (Library::Semver, SEMVER),
        (Library::MoreLists, MORE_LISTS),
        (Library::JsonPatch, JSON_PATCH),
    ];
    for (library, text) in texts {
        for line in text.lines() {
            add(&mut table, library, line);
        }
    }
    for line in generated() {
        // The table lives as long as the program, and so do its lines.
        let (library, line) = line;
        add(&mut table, library, Box::leak(line.into_boxed_str()));
    }
    table
}

/// The families whose members differ by a type alone.
fn generated() -> Vec<(Library, String)> {
    let mut lines = Vec::new();
    for (function, plain, zoned) in TIMESTAMP_PARTS {
        lines.push((Library::Standard, format!("{plain} = timestamp ~ {function}() -> int")));
        lines.push((Library::Standard, format!("{zoned} = timestamp ~ {function}(string) -> int")));
    }
    for (function, name) in ORDERS {
        for of in ["bool", "string", "bytes", "timestamp", "duration"] {
            lines.push((Library::Standard, format!("{name}_{of} = {function}({of}, {of}) -> bool")));
        }
        for (a, a_id) in NUMBERS {
            for (b, b_id) in NUMBERS {
                let id = if a == b { format!("{name}_{a_id}") } else { format!("{name}_{a_id}_{b_id}") };
                lines.push((Library::Standard, format!("{id} = {function}({a}, {b}) -> bool")));
            }
        }
    }
    for of in COMPARED {
        lines.push((Library::Lists, format!("list_{of}_is_sorted_bool = list({of}) ~ isSorted() -> bool")));
        for function in ["max", "min"] {
            lines.push((Library::Lists, format!("list_{of}_{function}_{of} = list({of}) ~ {function}() -> {of}")));
        }
        lines.push((Library::MoreLists, format!("list_{of}_sort = list({of}) ~ sort() -> list({of})")));
        let by = format!("list_{of}_sortByAssociatedKeys = list(T) ~ @sortByAssociatedKeys(list({of})) -> list(T)");
        lines.push((Library::MoreLists, by));
    }
    for of in SUMMED {
        lines.push((Library::Lists, format!("list_{of}_sum_{of} = list({of}) ~ sum() -> {of}")));
    }
    lines
}

fn add(table: &mut Table, library: Library, line: &'static str) {
    let Some((function, overload)) = read(library, line) else { return };
    table.entry(function).or_default().push(overload);
}

fn read(library: Library, line: &'static str) -> Option<(&'static str, Overload)> {
    let (id, rest) = line.split_once(" = ")?;
    let (receiver, rest) = match rest.split_once(" ~ ") {
        Some((receiver, rest)) => (Some(receiver), rest),
        None => (None, rest),
    };
    let (call, result) = rest.rsplit_once(" -> ")?;
    let (function, args) = call.split_once('(')?;
    let mut types: Vec<Type> = receiver.map(type_of).into_iter().collect();
    types.extend(list(args.strip_suffix(')')?));
    let result = type_of(result);
    let params = types.iter().chain([&result]).map(open).max().unwrap_or(0);
    Some((function, Overload { id, library, is_member: receiver.is_some(), args: types, result, params }))
}

/// One more than the highest of its open types.
fn open(of: &Type) -> u32 {
    match of {
        Type::Param(number) => number + 1,
        Type::List(items) | Type::Type(items) => open(items),
        Type::Map(keys, values) => open(keys).max(open(values)),
        Type::Opaque(_, params) => params.iter().map(open).max().unwrap_or(0),
        _ => 0,
    }
}

/// Types with commas between them, each of which may have some of its own.
fn list(text: &str) -> Vec<Type> {
    let mut types = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                types.push(type_of(&text[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text.trim().is_empty() {
        types.push(type_of(&text[start..]));
    }
    types
}

fn type_of(text: &str) -> Type {
    let text = text.trim();
    let (name, params) = match text.split_once('(') {
        Some((name, params)) => (name, list(params.strip_suffix(')').unwrap_or(params))),
        None => (text, Vec::new()),
    };
    let param = |index: usize| Arc::new(params.get(index).cloned().unwrap_or(Type::Dyn));
    match name {
        "dyn" => Type::Dyn,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "list" => Type::List(param(0)),
        "map" => Type::Map(param(0), param(1)),
        "type" => Type::Type(param(0)),
        _ => match name.as_bytes() {
            [letter @ b'A'..=b'Z'] => Type::Param(u32::from(letter - b'A')),
            _ => Type::Opaque(name.into(), params),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        let lines =
            [STANDARD, DURATIONS, STRINGS, REGEX, LISTS, URL, AUTHORIZER, SELECTORS, OPTIONAL, QUANTITY, SETS, NET];
        let more = [FORMAT, TWO_VARIABLES, SEMVER, MORE_LISTS, JSON_PATCH];
        let written = lines.iter().chain(&more).flat_map(|text| text.lines()).filter(|line| !line.is_empty()).count();
        assert_eq!(table().values().map(Vec::len).sum::<usize>(), written + generated().len());
        let shown = |overload: &Overload| format!("{:?} {}", overload.args, overload.result);
        let index: Vec<String> = overloads("_[_]").iter().map(shown).collect();
        assert_eq!(index[1], "[Map(Param(0), Param(1)), Param(0)] _var1");
    }
}

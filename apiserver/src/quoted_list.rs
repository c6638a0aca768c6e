//! Lists of texts, as messages of upstream's print them.

/// `["a" "b"]`
pub(crate) fn quoted_list<T: AsRef<str>>(list: &[T]) -> String {
    let quoted: Vec<String> = list.iter().map(|text| format!("{:?}", text.as_ref())).collect();
    format!("[{}]", quoted.join(" "))
}

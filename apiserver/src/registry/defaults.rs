//! What a field gets where its author said nothing.

/// An empty text says nothing, as no text does: charts and forms write `imagePullPolicy: ""`.
pub fn fill(field: &mut Option<String>, value: &str) {
    if field.as_ref().is_none_or(String::is_empty) {
        *field = Some(value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_stays() {
        for (said, expected) in [(None, "a"), (Some(""), "a"), (Some("b"), "b")] {
            let mut field = said.map(str::to_owned);
            fill(&mut field, "a");
            assert_eq!(field.as_deref(), Some(expected), "{said:?}");
        }
    }
}

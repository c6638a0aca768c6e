//! The order of a merged list, as upstream has it: the patch's items as the patch orders them, the others as the server had
//! them, and an item that the server alone has goes before the first item of the patch that it was in front of.

use std::collections::HashMap;

use serde_json::Value;

/// What tells one item from the others: the value of its merge key, or the item itself. As JSON, which can be hashed.
pub(super) fn id_of(item: &Value, merge_key: Option<&str>) -> String {
    let id = merge_key.map_or(item, |key| item.get(key).unwrap_or(&Value::Null));
    id.to_string()
}

/// Where each item stands, by its id; the first of several counts.
pub(super) fn places(items: &[Value], merge_key: Option<&str>) -> HashMap<String, usize> {
    let mut places = HashMap::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        places.entry(id_of(item, merge_key)).or_insert(place);
    }
    places
}

/// Orders `merged`. `asked`: places in the patch, or in its `$setElementOrder`; `server`: places in the list as it was.
pub(super) fn ordered(
    merged: Vec<Value>,
    asked: &HashMap<String, usize>,
    server: &HashMap<String, usize>,
    merge_key: Option<&str>,
) -> Vec<Value> {
    let (mut of_patch, mut of_server) = (Vec::new(), Vec::new());
    for item in merged {
        let id = id_of(&item, merge_key);
        let on_server = server.get(&id).copied();
        match asked.get(&id) {
            Some(place) => of_patch.push((*place, on_server, item)),
            None => of_server.push((on_server, item)),
        }
    }
    of_patch.sort_by_key(|(place, ..)| *place);
    of_server.sort_by_key(|(place, _)| place.unwrap_or(usize::MAX));
    let mut result = Vec::with_capacity(of_patch.len() + of_server.len());
    let mut of_server = of_server.into_iter().peekable();
    for (_, place, item) in of_patch {
        // Only two items that the server both had can say which of them was first.
        let before = |other: &(Option<usize>, Value)| matches!((other.0, place), (Some(a), Some(b)) if a < b);
        while let Some((_, other)) = of_server.next_if(before) {
            result.push(other);
        }
        result.push(item);
    }
    result.extend(of_server.map(|(_, item)| item));
    result
}

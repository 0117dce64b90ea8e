//! Doing the steps of a change: on a root, or on a table that packets write.

use std::sync::Arc;

use super::Step;
use crate::sets::dynamic::Edit;
use crate::sets::element::{Element, Key};
use crate::sets::error::SetError;
use crate::sets::set::{Root, Set, Store, Writer};

pub(super) fn put_in_root(
    set: &Set,
    writer: &mut Writer,
    root: &mut Root,
    element: &Element,
    now_ns: u64,
    taken: &mut Vec<u32>,
    freed: &mut Vec<u32>,
) -> Result<(), SetError> {
    let (tail, _) = set.tail_of(element, now_ns)?;
    let slot = set.layout.slot(&tail);
    let result = match &element.key {
        Key::CatchAll => {
            freed.extend(root.catch_all.as_deref().map(|old| set.layout.slot(old)));
            root.catch_all = Some(tail.into());
            Ok(())
        }
        Key::Range { low, high } => match root.body.find(low, high).map(|old| set.layout.slot(old))
        {
            Some(old) => {
                root.body.replace(low, high, &tail);
                freed.push(old);
                Ok(())
            }
            None => {
                let room = if set.is_full(root.body.len()) {
                    set.make_room(root, writer, now_ns, freed)
                } else {
                    Ok(())
                };
                room.and_then(|()| set.insert_over(root, (low, high), &tail, now_ns, freed))
            }
        },
    };
    match result {
        Ok(()) => taken.push(slot),
        Err(_) => set.slots.give_back(&[slot]),
    }
    result
}

pub(super) fn remove_from_root(set: &Set, root: &mut Root, key: &Key, freed: &mut Vec<u32>) {
    match key {
        Key::CatchAll => freed.extend(root.catch_all.take().map(|tail| set.layout.slot(&tail))),
        Key::Range { low, high } => {
            freed.extend(root.body.find(low, high).map(|tail| set.layout.slot(tail)));
            root.body.remove(low, high);
        }
    }
}

pub(super) fn flush_root(set: &Set, root: &mut Root, freed: &mut Vec<u32>) {
    if set.layout.slot.is_some() {
        root.body
            .for_each(&mut |row| freed.push(set.layout.slot(row.tail)));
        freed.extend(root.catch_all.as_deref().map(|tail| set.layout.slot(tail)));
    }
    set.forget_prefixes();
    *root = Root {
        body: root.body.emptied(),
        catch_all: None,
    };
}

/// The steps done on another root than the one on which they were checked. What does not fit any more
/// (a packet added the same element, or one that overlaps) gives way to what packets did.
pub(super) fn replay(
    set: &Set,
    writer: &mut Writer,
    now: &Root,
    steps: &[Step],
    now_ns: u64,
) -> (Root, Vec<u32>) {
    let mut root = now.clone();
    let (mut taken, mut freed) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Flush => flush_root(set, &mut root, &mut freed),
            Step::Remove(key) => remove_from_root(set, &mut root, key, &mut freed),
            Step::Bulk(bulk, count) => {
                for element in (0..*count).map(|index| bulk.element(index)) {
                    // What packets added meanwhile stays as they made it.
                    if let Key::Range { low, high } = &element.key
                        && root
                            .body
                            .find(low, high)
                            .is_none_or(|tail| set.layout.expired(tail, now_ns))
                    {
                        let _ = put_in_root(
                            set, writer, &mut root, &element, now_ns, &mut taken, &mut freed,
                        );
                    }
                }
            }
            Step::Put(element, over) => {
                let there = match &element.key {
                    Key::CatchAll => root.catch_all.as_deref(),
                    Key::Range { low, high } => root.body.find(low, high),
                };
                if *over || there.is_none_or(|tail| set.layout.expired(tail, now_ns)) {
                    let _ = put_in_root(
                        set, writer, &mut root, element, now_ns, &mut taken, &mut freed,
                    );
                }
            }
        }
    }
    (root, freed)
}

/// One step on a table that packets write.
pub(super) fn do_step(set: &Set, step: Step, now_ns: u64) {
    let Store::Table { table, catch_all } = &set.store else {
        return;
    };
    match step {
        Step::Flush => {
            table.flush();
            catch_all.store(None);
        }
        Step::Remove(Key::CatchAll) => {
            if let Some(old) = catch_all.swap(None) {
                set.slots.give_back(&[set.layout.slot(&old)]);
            }
        }
        Step::Remove(Key::Range { low, .. }) => {
            let _ = table.edit(&low, now_ns, true, |found| match found {
                Some(_) => Edit::Remove,
                None => Edit::Keep,
            });
        }
        // Only structures that are built anew take lists.
        Step::Bulk(..) => {}
        Step::Put(element, over) => {
            // Checked when it was added to the change.
            let Ok((tail, expires_ns)) = set.tail_of(&element, now_ns) else {
                return;
            };
            let slot = set.layout.slot(&tail);
            match &element.key {
                Key::CatchAll => {
                    if let Some(old) = catch_all.swap(Some(Arc::new(tail))) {
                        set.slots.give_back(&[set.layout.slot(&old)]);
                    }
                }
                Key::Range { low, .. } => {
                    let promised = !set.spec.forceadd;
                    let mut kept = true;
                    let result = table.edit(low, now_ns, promised, |found| match found {
                        Some((_, until)) if until > now_ns && !over => Edit::Keep,
                        _ => {
                            kept = false;
                            Edit::Put { tail, expires_ns }
                        }
                    });
                    if kept || result.is_err() {
                        set.slots.give_back(&[slot]);
                    }
                }
            }
        }
    }
}

//! The order in which a listing shows matches on neighbouring fields.
//!
//! nft joins equal comparisons of fields that lie side by side into one load, up to 4 bytes (16 where
//! the load is slow anyway), and lists them apart again by their place in the header. Only the order of
//! matches changes, never across another kind of statement, so the meaning stays.

use super::super::expr::{ExprKind, HeaderField, Payload, PayloadBase};
use super::super::stmt::{Match, RelOp, Stmt};

/// Puts the matches into the order in which the kernel would hold them.
pub(super) fn by_place(stmts: Vec<Stmt>) -> Vec<Stmt> {
    let mut out = Vec::with_capacity(stmts.len());
    let mut run = Vec::new();
    for stmt in stmts {
        if matches!(stmt, Stmt::Match(_)) {
            run.push(stmt);
            continue;
        }
        out.append(&mut sort_run(std::mem::take(&mut run)));
        out.push(stmt);
    }
    out.append(&mut sort_run(run));
    out
}

/// A field that can be joined, with the statements that have been joined so far.
struct Joined {
    base: PayloadBase,
    offset: u16,
    bits: u16,
    op: RelOp,
    members: Vec<usize>,
    /// Where the joined load stands.
    place: usize,
}

fn joinable(stmt: &Stmt) -> Option<(&Payload, RelOp)> {
    let Stmt::Match(Match {
        left,
        op: op @ (RelOp::Eq | RelOp::Neq),
        right,
        ..
    }) = stmt
    else {
        return None;
    };
    let ExprKind::Payload(payload) = &left.kind else {
        return None;
    };
    let aligned = payload.bits.is_multiple_of(8) && payload.offset.is_multiple_of(8);
    let known = !matches!(
        payload.field,
        None | Some(HeaderField::ThSport | HeaderField::ThDport)
    );
    (right.value().is_some() && aligned && known).then_some((payload, *op))
}

fn names_protocol(payload: &Payload) -> bool {
    matches!(
        payload.field,
        Some(
            HeaderField::EtherType
                | HeaderField::VlanType
                | HeaderField::IpProtocol
                | HeaderField::Ip6Nexthdr
        )
    )
}

fn sort_run(run: Vec<Stmt>) -> Vec<Stmt> {
    if run.len() < 2 {
        return run;
    }
    let mut fields: Vec<(usize, &Payload, RelOp)> = run
        .iter()
        .enumerate()
        .filter_map(|(i, s)| joinable(s).map(|(p, op)| (i, p, op)))
        .collect();
    fields.sort_by_key(|(i, p, _)| (p.base as u8, p.offset, *i));
    let mut groups: Vec<Joined> = Vec::new();
    for (i, payload, op) in fields {
        if let Some(last) = groups.last_mut()
            && last.op == op
            && last.base == payload.base
            && last.offset + last.bits == payload.offset
            && fits(last, payload)
        {
            last.bits += payload.bits;
            last.members.push(i);
            if names_protocol(payload) {
                last.place = i;
            }
            continue;
        }
        groups.push(Joined {
            base: payload.base,
            offset: payload.offset,
            bits: payload.bits,
            op,
            members: vec![i],
            place: i,
        });
    }
    arrange(run, &groups)
}

fn fits(last: &Joined, next: &Payload) -> bool {
    let total = last.bits + next.bits;
    total <= 32 || (total <= 128 && (last.base == PayloadBase::Link || last.bits > 32))
}

fn arrange(run: Vec<Stmt>, groups: &[Joined]) -> Vec<Stmt> {
    let mut slots: Vec<Option<Stmt>> = run.into_iter().map(Some).collect();
    let mut out = Vec::with_capacity(slots.len());
    for i in 0..slots.len() {
        if let Some(group) = groups.iter().find(|g| g.members.len() > 1 && g.place == i) {
            out.extend(group.members.iter().filter_map(|m| slots[*m].take()));
            continue;
        }
        let waits = groups
            .iter()
            .any(|g| g.members.len() > 1 && g.members.contains(&i));
        if !waits {
            out.extend(slots[i].take());
        }
    }
    out
}

//! Typed statements back to text, byte for byte as nft lists a rule that has been in the kernel.
//!
//! What a reader can see from the rest is left out: dependencies that a field implies
//! ([`dependency`]), defaults, the names of what has only one name.

mod dependency;
mod expression;
mod flags;
mod set;
mod statement;
mod value;

pub use set::{print_element, print_elements};
pub use value::print_value;

use super::expr::Expr;
use super::rule::{Family, PrintOptions, Rule};
use super::stmt::Stmt;

/// A rule as one line (several with anonymous chains), without handle.
pub fn print_rule(rule: &Rule, family: Family, options: &PrintOptions<'_>) -> String {
    let mut out = String::new();
    rule_at(&mut out, rule, family, options, 2);
    out
}

/// An expression (for `typeof` and explanations).
pub fn print_expr(expr: &Expr, options: &PrintOptions<'_>) -> String {
    let mut out = String::new();
    expression::expr(&mut out, expr, options);
    out
}

/// A statement on its own (those of a set's declaration).
pub fn print_stmt(stmt: &Stmt, options: &PrintOptions<'_>) -> String {
    let mut out = String::new();
    let place = statement::Place {
        family: Family::Ip,
        depth: 2,
    };
    statement::stmt(&mut out, stmt, place, options);
    out
}

fn rule_at(
    out: &mut String,
    rule: &Rule,
    family: Family,
    options: &PrintOptions<'_>,
    depth: usize,
) {
    let stmts = dependency::visible(&rule.stmts, family);
    let mut first = true;
    for stmt in stmts {
        if !first {
            out.push(' ');
        }
        first = false;
        statement::stmt(out, stmt, statement::Place { family, depth }, options);
    }
    if let Some(comment) = &rule.comment {
        if !first {
            out.push(' ');
        }
        out.push_str("comment \"");
        out.push_str(comment);
        out.push('"');
    }
}

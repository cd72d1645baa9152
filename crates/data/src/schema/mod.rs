//! IPLD schemas: what values must look like.
//!
//! [`Schema::parse`] reads the schema language (`.ipldsch`), [`Schema::from_dmt`] its form as data (DMT);
//! [`Schema::check`] says whether a value, as it stands in a block, is of a type. See the [specification](https://ipld.io/docs/schemas/).
//!
//! Schemas of our own kinds of objects come with the crate: [`schemas`].

mod ast;
mod check;
mod dmt;
mod error;
mod lexer;
mod parser;
mod represent;
mod text_form;

pub mod schemas;

pub use ast::{
    EnumRepresentation, Field, Member, Schema, StructRepresentation, Type, TypeRef,
    UnionRepresentation,
};
pub use error::{Mismatch, SchemaError};

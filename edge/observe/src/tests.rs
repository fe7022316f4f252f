//! Tests over recorded trees.

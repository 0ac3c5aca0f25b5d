//! What must hold of every cell.
pub fn x() {}

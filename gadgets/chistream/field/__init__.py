"""Complex echoes to total field, R2* and mask."""

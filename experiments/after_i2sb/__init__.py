"""Methods that came after I²SB, measured on the photographs that no shipped model has seen."""

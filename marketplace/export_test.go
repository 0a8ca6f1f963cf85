package marketplace

// MulDiv is mulDiv, for its fuzz test.
var MulDiv = mulDiv

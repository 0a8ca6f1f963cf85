package store

import "agentmarket/product"

// Product is the store of layer 2 besides agents and runs. Its methods are in the
// files product_*.go.
type Product struct{ db *DB }

var _ product.ControlStore = (*Product)(nil)

package store

import (
	"strings"

	"agentmarket/marketplace"
)

// Marketplace is the store of layer 1. Its methods are in the files
// marketplace_*.go and audit.go.
type Marketplace struct{ db *DB }

var _ marketplace.Store = (*Marketplace)(nil)

// lockOrganization lets one change of the people, the keys or the teams of an
// organization happen at a time: what they are counted against would change
// under them. The weaker lock does not hold up rows that refer to the
// organization. The transactions of SQLite exclude each other anyway.
var lockOrganization = map[dialect]string{
	postgresDialect: `SELECT id FROM organizations WHERE id = ? FOR NO KEY UPDATE`,
	sqliteDialect:   `SELECT id FROM organizations WHERE id = ?`,
}

// lastOf is a cursor as queries take it. An empty one is the end of all pages, a
// text that sorts after every identifier: with it the first page reads the index
// as the others do.
func lastOf[T ~string](before T) string {
	if before == "" {
		return "~"
	}
	return string(before)
}

// listOf splits a column that a query made with string_agg; nil for none.
func listOf[T ~string](joined *string) []T {
	if joined == nil {
		return nil
	}
	var list []T
	for part := range strings.SplitSeq(*joined, ",") {
		list = append(list, T(part))
	}
	return list
}

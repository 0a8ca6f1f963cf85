// Package store keeps the objects of the platform in a relational database:
// PostgreSQL in production, SQLite for one process on one computer. It is the
// only package that imports gorm.
//
//	Open ─► DB ─┬─ Marketplace()  marketplace.Store     marketplace_*.go, audit.go
//	            ├─ Agents()       product.AgentStore,   product_agents.go, product_agents_read.go,
//	            │                 AgentNames,
//	            │                 ChannelStore          product_channels.go, product_heads.go
//	            └─ Runs()         product.RunStore,     product_runs.go, product_runs_update.go,
//	                              RunKeys               product_dispatch.go
//
// Rows are unexported and mapped beside their declaration (rowFrom…, …FromRow).
// The two databases hold the same tables and columns and differ in four places:
// the migrations, the text of the few statements that lock or look into JSON, the
// search of the catalog, and how a pool is opened. internal/storetest holds both
// to the same behaviour.
//
// A change of an object of the marketplace or of the agent registry and its entry
// of the audit log are one transaction: writeAudit in audit.go.
//
// Times are stored in UTC to the microsecond, and what a call returns is what a
// later one loads. Text that PostgreSQL cannot hold (invalid UTF-8, the NUL
// character) is cleaned in messages for people, and refused elsewhere.
//
// Errors are faults where the caller can do something about them: NotFound,
// Conflict, Invalid, and Unavailable for every way in which a database fails to
// answer. errors.go has the table.
package store

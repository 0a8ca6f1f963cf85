// Package store keeps the objects of the platform in a relational database:
// PostgreSQL in production, SQLite for one process on one computer. It is the
// only package that imports gorm.
//
//	Open ─► DB ─┬─ Marketplace()  marketplace.Store     marketplace.go
//	            ├─ Agents()       product.AgentStore    product_agents.go
//	            └─ Runs()         product.RunStore      product_runs.go, product_runs_update.go,
//	                                                    product_dispatch.go
//
// Rows are unexported and mapped beside their declaration (rowFrom…, …FromRow).
// The two databases hold the same tables and columns and differ in three
// places: the migrations, the text of the few statements that lock or look into
// JSON, and how a pool is opened. internal/storetest holds both to the same
// behaviour.
//
// Times are stored in UTC to the microsecond, and what a call returns is what a
// later one loads. Text that PostgreSQL cannot hold (invalid UTF-8, the NUL
// character) is cleaned in messages for people, and refused elsewhere.
//
// Errors are faults where the caller can do something about them: NotFound,
// Conflict, Invalid, and Unavailable for every way in which a database fails to
// answer. errors.go has the table.
package store

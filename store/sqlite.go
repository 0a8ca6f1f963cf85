package store

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"

	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	_ "modernc.org/sqlite" // the driver "sqlite", in pure Go
)

// sqliteDriver is the name under which modernc.org/sqlite registers itself.
const sqliteDriver = "sqlite"

// openSQLite opens the two pools of a SQLite file: one connection that writes
// and a few that read. With a write-ahead log readers and the writer do not
// wait for each other; busy_timeout covers writers of other processes.
func (db *DB) openSQLite(ctx context.Context) error {
	writer, err := sql.Open(sqliteDriver, sqliteDSN(db.path, false))
	if err != nil {
		return fmt.Errorf("open sqlite: %w", err)
	}
	db.pools = append(db.pools, writer)
	writer.SetMaxOpenConns(1)
	// The writer goes first: it makes the file and its log.
	if err := writer.PingContext(ctx); err != nil {
		return db.interpret(err, "open sqlite")
	}
	reader, err := sql.Open(sqliteDriver, sqliteDSN(db.path, true))
	if err != nil {
		return fmt.Errorf("open sqlite: %w", err)
	}
	db.pools = append(db.pools, reader)
	reader.SetMaxOpenConns(db.config.MaxConns)
	reader.SetMaxIdleConns(db.config.MaxConns)

	if db.write, err = gorm.Open(sqlite.New(sqlite.Config{Conn: writer}), db.gormConfig()); err != nil {
		return db.interpret(err, "open sqlite")
	}
	if db.read, err = gorm.Open(sqlite.New(sqlite.Config{Conn: reader}), db.gormConfig()); err != nil {
		return db.interpret(err, "open sqlite")
	}
	return nil
}

// sqliteDSN is the driver's name of a file. Transactions take the write lock
// when they begin: one that reads first and writes later could not wait for it.
func sqliteDSN(path string, readOnly bool) string {
	parameters := url.Values{
		"_busy_timeout": {"10000"},
		"_foreign_keys": {"on"},
		"_synchronous":  {"NORMAL"},
		"_txlock":       {"immediate"},
		"_dqs":          {"0"}, // a misspelt column is an error, not a text
	}
	if readOnly {
		parameters.Set("_query_only", "on")
		parameters.Set("_txlock", "deferred")
	} else {
		parameters.Set("_journal_mode", "WAL")
	}
	name := url.URL{Scheme: "file", Path: path, RawQuery: parameters.Encode()}
	return name.String()
}

// sqliteMigrations opens a pool of its own, for goose uses two connections.
func (db *DB) sqliteMigrations() (*sql.DB, error) {
	pool, err := sql.Open(sqliteDriver, sqliteDSN(db.path, false))
	if err != nil {
		return nil, fmt.Errorf("open sqlite: %w", err)
	}
	return pool, nil
}

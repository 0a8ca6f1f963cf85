package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"gorm.io/gorm"
)

// DB is an open database. It is safe for concurrent use.
type DB struct {
	dialect dialect
	config  Config
	path    string // of the SQLite file

	// read and write are the same pool on PostgreSQL. On SQLite write is one
	// connection, so that the writers of this process queue in Go, where they
	// are served in turn and obey their context, instead of colliding in the
	// file.
	read, write *gorm.DB
	pools       []*sql.DB
	closed      atomic.Bool
}

// Open connects to a database and checks that it answers; one that does not is
// fault.Unavailable. It changes nothing in it: call [DB.Migrate] for that.
func Open(ctx context.Context, config Config) (*DB, error) {
	d, path, err := parseURL(config.URL)
	if err != nil {
		return nil, err
	}
	db := &DB{dialect: d, config: config.withDefaults(d), path: path}
	switch d {
	case postgresDialect:
		err = db.openPostgres()
	case sqliteDialect:
		err = db.openSQLite(ctx)
	}
	if err == nil {
		err = db.Ping(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// gormConfig is what both dialects share. PrepareStmt stays off: pgx prepares
// and caches by itself, and SQLite prepares in microseconds.
func (db *DB) gormConfig() *gorm.Config {
	hideValues()
	return &gorm.Config{
		SkipDefaultTransaction: true,
		DisableAutomaticPing:   true,
		// Columns by name, so that a process keeps working while a newer one
		// adds a column.
		QueryFields: true,
		Logger:      queryLogger{log: db.config.Logger, slow: db.config.SlowQuery},
	}
}

// Ping checks that the database answers. One that does not is fault.Unavailable.
func (db *DB) Ping(ctx context.Context) error {
	for _, pool := range db.pools {
		if err := pool.PingContext(ctx); err != nil {
			return db.interpret(err, "reach database")
		}
	}
	return nil
}

// Close closes the connections. Calls that follow are fault.Unavailable.
func (db *DB) Close() error {
	db.closed.Store(true)
	var errs []error
	for _, pool := range db.pools {
		errs = append(errs, pool.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// Marketplace returns the store of layer 1.
func (db *DB) Marketplace() *Marketplace { return &Marketplace{db: db} }

// Agents returns the agent registry of layer 2.
func (db *DB) Agents() *Agents { return &Agents{db: db} }

// Runs returns the execution records of layer 2.
func (db *DB) Runs() *Runs { return &Runs{db: db} }

// Product returns limits, queue, policies, rollouts, webhooks and schedules.
func (db *DB) Product() *Product { return &Product{db: db} }

// refused is an error of a caller's function on its way out of a transaction. It
// undoes the transaction, and interpret hands it back as it is.
type refused struct{ err error }

func (r refused) Error() string { return r.err.Error() }

// refuse marks an error of a caller's function; nil stays nil.
func refuse(err error) error {
	if err == nil {
		return nil
	}
	return refused{err}
}

// change runs do in a transaction, see transact, and interprets its error.
func (db *DB) change(ctx context.Context, doing string, do func(tx *gorm.DB) error) error {
	return db.interpret(db.transact(ctx, do), doing)
}

// forUpdate ends a SELECT in SQL text that locks its rows. The transactions of
// SQLite exclude each other anyway.
var forUpdate = map[dialect]string{postgresDialect: " FOR UPDATE", sqliteDialect: ""}

// maxTries bounds how often a transaction runs that the database sent back.
const maxTries = 8

// transact runs do in a transaction, and again when the database chose it as
// the victim of a deadlock or of a serialization failure. do must not use the
// store outside of tx: on SQLite there is one connection to write with.
func (db *DB) transact(ctx context.Context, do func(tx *gorm.DB) error) error {
	for try := 1; ; try++ {
		err := db.write.WithContext(ctx).Transaction(do)
		if err == nil || try == maxTries || !sentBack(err) {
			return err
		}
		// Rivals that wait for the same time would meet again.
		pause := time.NewTimer(time.Duration(try) * time.Duration(1+rand.IntN(10)) * time.Millisecond)
		select {
		case <-ctx.Done():
			pause.Stop()
			return err
		case <-pause.C:
		}
	}
}

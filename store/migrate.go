package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// migrations holds numbered SQL files, one folder a dialect. A file that was
// released never changes.
//
//go:embed migrations
var migrations embed.FS

// migrationTable records which migrations were applied.
const migrationTable = "schema_migrations"

// migrationLock is the key of the PostgreSQL advisory lock that lets one process
// migrate at a time.
const migrationLock = 0x61676d6b // "agmk"

// Migrate applies every migration that the database lacks. Any number of
// processes may call it at once: one works, the others wait up to five minutes.
func (db *DB) Migrate(ctx context.Context) error {
	err := db.withProvider(func(p *goose.Provider) error {
		_, err := p.Up(ctx)
		// SQLite has no lock for this. A rival that was faster makes this one
		// fail, and then there is nothing left to do, or a little.
		for try := 1; err != nil && db.dialect == sqliteDialect && try < maxTries && ctx.Err() == nil; try++ {
			_, err = p.Up(ctx)
		}
		return err
	})
	return db.interpret(err, "migrate database")
}

// MigrateDown takes migrations back until version is the newest one that is
// applied; 0 takes back everything. What the dropped tables held is lost.
func (db *DB) MigrateDown(ctx context.Context, version int64) error {
	err := db.withProvider(func(p *goose.Provider) error {
		_, err := p.DownTo(ctx, version)
		return err
	})
	return db.interpret(err, "migrate database down")
}

// Version returns the newest migration that is applied (0: none) and the newest
// one that this program knows. A program whose version is the newer one needs
// Migrate before it can work. The call opens a connection of its own; it is for
// the start of a program, not for its health checks.
func (db *DB) Version(ctx context.Context) (applied, known int64, err error) {
	err = db.withProvider(func(p *goose.Provider) error {
		applied, known, err = p.GetVersions(ctx)
		return err
	})
	return applied, known, db.interpret(err, "read database version")
}

// withProvider runs do with a provider on connections of its own: a migration
// may take longer than a statement of the application.
func (db *DB) withProvider(do func(*goose.Provider) error) error {
	files, err := fs.Sub(migrations, "migrations/"+string(db.dialect))
	if err != nil {
		return fmt.Errorf("open migrations: %w", err)
	}
	options := []goose.ProviderOption{
		goose.WithTableName(migrationTable), goose.WithDisableGlobalRegistry(true),
		goose.WithSlog(db.config.Logger),
	}
	var pool *sql.DB
	gooseDialect := goose.DialectSQLite3
	if db.dialect == postgresDialect {
		gooseDialect = goose.DialectPostgres
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(migrationLock),
			lock.WithLockTimeout(1, 300), lock.WithUnlockTimeout(1, 60))
		if err != nil {
			return fmt.Errorf("make migration lock: %w", err)
		}
		options = append(options, goose.WithSessionLocker(locker))
		pool, err = db.postgresMigrations()
		if err != nil {
			return err
		}
	} else if pool, err = db.sqliteMigrations(); err != nil {
		return err
	}
	defer func() { _ = pool.Close() }()
	provider, err := goose.NewProvider(gooseDialect, pool, files, options...)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	return do(provider)
}

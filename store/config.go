package store

import (
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"

	"agentmarket/product"
)

// Config says which database to use and how.
type Config struct {
	// URL names the database.
	//
	// postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=… is PostgreSQL 14 or
	// newer. Every parameter of a libpq connection URL works, and those of the
	// server (application_name, statement_timeout) win over what is set here.
	// Behind a pooler that shares connections between transactions, add
	// default_query_exec_mode=exec.
	//
	// sqlite:///var/lib/agentmarket/store.db is a SQLite file, made when it
	// does not exist; its folder must exist. No parameters.
	//
	// Required. It may hold a password; Open never repeats it in an error.
	URL string

	// MaxConns bounds the open connections of this process. On SQLite it bounds
	// the readers; there is one more connection, which writes. All replicas
	// together should stay below max_connections of the server.
	//
	// 0 means 16 for PostgreSQL and 4 for SQLite.
	MaxConns int

	// StatementTimeout is when PostgreSQL gives up on one statement, which the
	// caller sees as fault.Unavailable. Migrations are exempt. SQLite ignores it
	// and obeys the deadline of the context only.
	//
	// 0 means 15 seconds; negative means no limit.
	StatementTimeout time.Duration

	// SlowQuery is the duration from which a statement is logged as slow, with
	// its text and without its values.
	//
	// 0 means 500 milliseconds; negative means never.
	SlowQuery time.Duration

	// ApplicationName is how the connections show up in pg_stat_activity.
	//
	// Empty means agentmarket.
	ApplicationName string

	// Quota is what organizations may use for which no operator has set a quota.
	//
	// The zero Quota is no bound.
	Quota product.Quota

	// Logger receives slow and failed statements and the steps of migrations.
	//
	// nil means no log.
	Logger *slog.Logger

	// tracer sees every statement, for the test of the query plans.
	tracer pgx.QueryTracer
}

// The defaults of Config.
const (
	defaultPostgresConns    = 16
	defaultSQLiteConns      = 4
	defaultStatementTimeout = 15 * time.Second
	defaultSlowQuery        = 500 * time.Millisecond
	defaultApplicationName  = "agentmarket"
)

// dialect is the kind of database behind a DB.
type dialect string

const (
	postgresDialect dialect = "postgres"
	sqliteDialect   dialect = "sqlite"
)

// withDefaults returns the configuration with every zero value replaced.
func (c Config) withDefaults(d dialect) Config {
	if c.MaxConns <= 0 {
		c.MaxConns = defaultPostgresConns
		if d == sqliteDialect {
			c.MaxConns = defaultSQLiteConns
		}
	}
	if c.StatementTimeout == 0 {
		c.StatementTimeout = defaultStatementTimeout
	}
	if c.SlowQuery == 0 {
		c.SlowQuery = defaultSlowQuery
	}
	if c.ApplicationName == "" {
		c.ApplicationName = defaultApplicationName
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// parseURL tells the dialect of a URL and, for SQLite, the path of the file.
// The URL itself is not part of an error, for it may hold a password.
func parseURL(text string) (d dialect, path string, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", "", fmt.Errorf("parse database URL: not a URL")
	}
	switch u.Scheme {
	case "postgres", "postgresql":
		return postgresDialect, "", nil
	case "sqlite":
		if u.Host != "" || u.Path == "" || u.Path == "/" || u.RawQuery != "" {
			return "", "", fmt.Errorf("parse database URL: want sqlite:///ABSOLUTE/PATH without parameters")
		}
		return sqliteDialect, u.Path, nil
	default:
		return "", "", fmt.Errorf("parse database URL: scheme %q is neither postgres nor sqlite", u.Scheme)
	}
}

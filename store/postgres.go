package store

import (
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
)

// connectTimeout bounds one try to connect, where the URL does not.
const connectTimeout = 5 * time.Second

// openPostgres opens the one pool of a PostgreSQL database. It does not connect.
func (db *DB) openPostgres() error {
	config, err := db.postgresConfig(db.config.StatementTimeout)
	if err != nil {
		return err
	}
	pool := stdlib.OpenDB(*config)
	pool.SetMaxOpenConns(db.config.MaxConns)
	pool.SetMaxIdleConns(db.config.MaxConns)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	// Connections move to a new primary within this time without a restart.
	pool.SetConnMaxLifetime(30 * time.Minute)
	db.pools = append(db.pools, pool)

	handle, err := gorm.Open(postgres.New(postgres.Config{Conn: pool}), db.gormConfig())
	if err != nil {
		return fmt.Errorf("open postgres: %w", err)
	}
	db.read, db.write = handle, handle
	return nil
}

// postgresConfig is the configuration of a connection. What the URL says wins.
func (db *DB) postgresConfig(statementTimeout time.Duration) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(db.config.URL)
	if err != nil {
		// The driver's own text repeats parts of the URL.
		return nil, fmt.Errorf("parse database URL: not a PostgreSQL connection URL")
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	config.Tracer = db.config.tracer
	settings := map[string]string{
		"application_name": db.config.ApplicationName,
		"timezone":         "UTC",
		// A process that hangs in the middle of a transaction must not keep its
		// locks for good.
		"idle_in_transaction_session_timeout": "10000",
	}
	if statementTimeout > 0 {
		settings["statement_timeout"] = strconv.FormatInt(statementTimeout.Milliseconds(), 10)
	}
	for name, value := range settings {
		if _, set := config.RuntimeParams[name]; !set {
			config.RuntimeParams[name] = value
		}
	}
	return config, nil
}

// postgresMigrations opens connections without a limit on statements.
func (db *DB) postgresMigrations() (*sql.DB, error) {
	config, err := db.postgresConfig(0)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["statement_timeout"] = "0"
	// The lock of a migration is held by an idle session.
	config.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	return stdlib.OpenDB(*config), nil
}

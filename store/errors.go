package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"agentmarket/fault"
)

// The SQLSTATE codes of PostgreSQL that mean something here.
const (
	pgUniqueViolation     = "23505"
	pgForeignKeyViolation = "23503"
	pgNoSuchCharacter     = "22021" // invalid UTF-8, or NUL in text
	pgUntranslatable      = "22P05" // NUL in JSON
	pgSerializationFailed = "40001"
	pgDeadlock            = "40P01"
	pgQueryCanceled       = "57014" // statement_timeout
	pgLockNotAvailable    = "55P03"
	pgReadOnly            = "25006" // a standby, after a failover
	pgIdleInTransaction   = "25P03"
	pgNoSuchDatabase      = "3D000"
)

// pgUnavailableClasses are the first two characters of the codes that say that
// the server cannot work now: connection, resources, operator intervention and
// its own input and output.
var pgUnavailableClasses = []string{"08", "53", "57", "58"}

// interpret turns an error of a driver into what the contract of the stores
// promises: fault.Unavailable where the database did not answer, fault.NotFound
// for a reference to what does not exist, fault.Invalid for text that cannot be
// stored. Faults stay as they are, the rest stays unclassified. doing is a verb
// and a noun with the identifier.
func (db *DB) interpret(err error, doing string) error {
	var known *fault.Error
	var no refused
	switch {
	case err == nil:
		return nil
	case errors.As(err, &no):
		return no.err
	case errors.As(err, &known):
		return err
	}
	wrapped := fmt.Errorf("%s: %w", doing, err)
	switch {
	case db.closed.Load() || unavailable(err):
		return fault.Wrap(fault.Unavailable, wrapped, "the database cannot answer at the moment")
	case foreignKeyViolated(err):
		return fault.Wrap(fault.NotFound, wrapped, "an object that this one refers to does not exist")
	case pgCode(err) == pgNoSuchCharacter || pgCode(err) == pgUntranslatable:
		return fault.Wrap(fault.Invalid, wrapped, "a text holds characters that cannot be stored")
	}
	return wrapped
}

// lookup is interpret for a query of one object.
func (db *DB) lookup(err error, noun, id string) error {
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return notFound(noun, id)
	}
	return db.interpret(err, "load "+noun+" "+id)
}

func notFound(noun, id string) error {
	return fault.Newf(fault.NotFound, noun+"_not_found", "there is no %s %s", noun, id)
}

// unavailable reports whether the database did not answer, whatever the reason.
// A statement that ran out of time may have been carried out; every write of
// this package can be repeated.
func unavailable(err error) bool {
	for _, target := range []error{
		context.DeadlineExceeded, context.Canceled, driver.ErrBadConn, sql.ErrConnDone,
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	var connect *pgconn.ConnectError
	var network net.Error
	if errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err) || sentBack(err) {
		return true
	}
	switch code := pgCode(err); code {
	case pgQueryCanceled, pgLockNotAvailable, pgReadOnly, pgIdleInTransaction, pgNoSuchDatabase:
		return true
	default:
		for _, class := range pgUnavailableClasses {
			if len(code) == 5 && code[:2] == class {
				return true
			}
		}
	}
	switch sqliteCode(err) & 0xff { // the low byte is the kind
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR,
		sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL:
		return true
	}
	return false
}

// sentBack reports whether the database undid a transaction that would succeed
// when it is repeated.
func sentBack(err error) bool {
	code := pgCode(err)
	return code == pgSerializationFailed || code == pgDeadlock
}

// uniqueViolated reports whether a value that must be unique was taken.
func uniqueViolated(err error) bool {
	code := sqliteCode(err)
	return pgCode(err) == pgUniqueViolation ||
		code == sqlite3.SQLITE_CONSTRAINT_UNIQUE || code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
}

// foreignKeyViolated reports whether a row refers to one that does not exist.
func foreignKeyViolated(err error) bool {
	return pgCode(err) == pgForeignKeyViolation || sqliteCode(err) == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
}

func pgCode(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func sqliteCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

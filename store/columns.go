package store

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// stamp is a column with a point in time: UTC, to the microsecond, NULL for the
// zero time. It travels as text of one fixed width, which PostgreSQL reads as a
// timestamptz and SQLite compares and sorts correctly as what it is.
type stamp struct{ t time.Time }

const stampFormat = "2006-01-02 15:04:05.000000Z"

// at makes a stamp. Finer digits are dropped here, not by the database, so that
// both databases keep the same and a stored value is returned as it was stored.
func at(t time.Time) stamp {
	if t.IsZero() {
		return stamp{}
	}
	return stamp{t.UTC().Truncate(time.Microsecond)}
}

// Value implements driver.Valuer.
func (s stamp) Value() (driver.Value, error) {
	if s.t.IsZero() {
		return nil, nil
	}
	return s.t.Format(stampFormat), nil
}

// Scan implements sql.Scanner.
func (s *stamp) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*s = stamp{}
	case time.Time:
		*s = at(v)
	case string:
		t, err := time.Parse(stampFormat, v)
		if err != nil {
			return fmt.Errorf("scan time: %w", err)
		}
		*s = at(t)
	default:
		return fmt.Errorf("scan time: unexpected type %T", src)
	}
	return nil
}

// GormDataType keeps gorm from taking the struct for a relation.
func (stamp) GormDataType() string { return "timestamptz" }

// document is a column with a JSON value, NULL for nil. T is a shape of this
// package with tags, so that renaming a field of the domain does not rename
// what is stored.
type document[T any] struct{ value *T }

func documentOf[T any](v T) document[T] { return document[T]{&v} }

// Value implements driver.Valuer.
func (d document[T]) Value() (driver.Value, error) {
	if d.value == nil {
		return nil, nil
	}
	text, err := json.Marshal(d.value)
	if err != nil {
		return nil, fmt.Errorf("encode column: %w", err)
	}
	return string(text), nil
}

// Scan implements sql.Scanner.
func (d *document[T]) Scan(src any) error {
	var text []byte
	switch v := src.(type) {
	case nil:
		d.value = nil
		return nil
	case string:
		text = []byte(v)
	case []byte:
		text = v
	default:
		return fmt.Errorf("scan document: unexpected type %T", src)
	}
	d.value = new(T)
	if err := json.Unmarshal(text, d.value); err != nil {
		return fmt.Errorf("scan document: %w", err)
	}
	return nil
}

// GormDataType keeps gorm from taking the struct for a relation.
func (document[T]) GormDataType() string { return "json" }

// printable returns a message for people without what PostgreSQL cannot hold.
// Messages quote agents, and an agent's last words must not keep its run from
// being settled.
func printable(message string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(message, "\uFFFD"), "\x00", "\uFFFD")
}

// clone copies what a pointer points to, so that rows and domain values never
// share memory.
func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// nilIfEmpty makes no difference between an empty map or list and none.
func nilIfEmpty[K comparable, V any](m map[K]V) map[K]V {
	if len(m) == 0 {
		return nil
	}
	return m
}

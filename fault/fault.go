// Package fault is the closed set of error kinds of the platform.
//
// A layer returns a fault where its caller can do something about the error;
// everything else is a plain wrapped error and counts as [Internal]. Two tables
// turn kinds into protocols: api maps them to HTTP statuses, activities maps
// them to Temporal's retryable and non-retryable application errors. Nobody
// looks at the text of an error.
//
// The message of a fault is written for the person who made the request. The
// cause is for operators: it is logged and never leaves the process.
package fault

import (
	"errors"
	"fmt"
)

// Kind says what a caller can do about an error.
type Kind string

// The kinds. Adding one means adding a row to the tables of api and activities;
// their tests check that none is missing.
const (
	Invalid         Kind = "invalid"          // the request is wrong and stays wrong
	Unauthenticated Kind = "unauthenticated"  // no or bad credential
	PaymentRequired Kind = "payment_required" // entitled only after a purchase
	Forbidden       Kind = "forbidden"        // known caller, missing right
	NotFound        Kind = "not_found"        // does not exist for this caller
	Conflict        Kind = "conflict"         // the state does not allow it
	TooLarge        Kind = "too_large"        // over a size limit
	RateLimited     Kind = "rate_limited"     // too many requests, try later
	Unavailable     Kind = "unavailable"      // a dependency is down, try again
	Internal        Kind = "internal"         // a bug or something unforeseen
)

// Kinds returns every kind, for the tests of the tables.
func Kinds() []Kind {
	return []Kind{Invalid, Unauthenticated, PaymentRequired, Forbidden, NotFound,
		Conflict, TooLarge, RateLimited, Unavailable, Internal}
}

// Field is one wrong field of a request.
type Field struct {
	// Pointer is a JSON pointer (RFC 6901) into the request body, or the name
	// of a query parameter or header.
	Pointer string
	// Message says what is wrong with the value, never repeating a secret.
	Message string
}

// Error is an error with a kind, a stable code and a message for people.
type Error struct {
	Kind    Kind
	Code    string // stable, snake_case; the kind where nothing finer is known
	Message string
	Fields  []Field
	Cause   error
}

// New returns an error of a kind. An empty code means the kind's own name.
func New(kind Kind, code, message string) *Error {
	if code == "" {
		code = string(kind)
	}
	return &Error{Kind: kind, Code: code, Message: message}
}

// Newf is New with a formatted message.
func Newf(kind Kind, code, format string, args ...any) *Error {
	return New(kind, code, fmt.Sprintf(format, args...))
}

// Wrap returns an error of a kind that hides cause from the caller and keeps it
// for operators.
func Wrap(kind Kind, cause error, message string) *Error {
	e := New(kind, "", message)
	e.Cause = cause
	return e
}

// WithFields returns e with the fields that are wrong.
func (e *Error) WithFields(fields ...Field) *Error {
	e.Fields = append(e.Fields, fields...)
	return e
}

// Error is the text for operators: message and cause.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Message
	}
	return e.Message + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// From returns the fault in the chain of err, or an Internal one around it. It
// returns nil for nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: Internal, Code: string(Internal), Message: "internal error", Cause: err}
}

// KindOf returns the kind of err; Internal where it carries none.
func KindOf(err error) Kind { return From(err).Kind }

// Is reports whether err is of a kind. It is false for nil.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm/schema"

	"agentmarket/fault"
)

func TestInterpret(t *testing.T) {
	pg := func(code string) error { return fmt.Errorf("wrapped: %w", &pgconn.PgError{Code: code}) }
	for name, c := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"deadline":                {context.DeadlineExceeded, fault.Unavailable},
		"canceled":                {context.Canceled, fault.Unavailable},
		"connection lost":         {io.ErrUnexpectedEOF, fault.Unavailable},
		"network":                 {&net.OpError{Op: "dial", Err: errors.New("refused")}, fault.Unavailable},
		"pg connection failure":   {pg("08006"), fault.Unavailable},
		"pg too many connections": {pg("53300"), fault.Unavailable},
		"pg admin shutdown":       {pg("57P01"), fault.Unavailable},
		"pg starting up":          {pg("57P03"), fault.Unavailable},
		"pg statement timeout":    {pg("57014"), fault.Unavailable},
		"pg standby":              {pg("25006"), fault.Unavailable},
		"pg still serialization":  {pg("40001"), fault.Unavailable},
		"pg still deadlock":       {pg("40P01"), fault.Unavailable},
		"pg foreign key":          {pg("23503"), fault.NotFound},
		"pg character":            {pg("22021"), fault.Invalid},
		"pg check":                {pg("23514"), fault.Internal},
		"pg syntax":               {pg("42601"), fault.Internal},
		"fault":                   {fault.New(fault.Conflict, "", "x"), fault.Conflict},
		"anything else":           {errors.New("x"), fault.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			err := (&DB{}).interpret(c.err, "do thing")
			require.Equal(t, c.want, fault.KindOf(err))
			require.ErrorIs(t, err, c.err)
		})
	}
	require.NoError(t, (&DB{}).interpret(nil, "do thing"))
}

func TestParseURL(t *testing.T) {
	for text, want := range map[string]string{
		"postgres://u:p@h/db?sslmode=disable": "postgres ",
		"postgresql://h/db":                   "postgres ",
		"sqlite:///var/lib/a b.db":            "sqlite /var/lib/a b.db",
		"sqlite:///a%3Fb.db":                  "sqlite /a?b.db",
	} {
		d, path, err := parseURL(text)
		require.NoError(t, err, text)
		require.Equal(t, want, string(d)+" "+path)
	}
	for _, text := range []string{"", "store.db", "sqlite://store.db", "sqlite:store.db", "sqlite:///a.db?mode=ro",
		"mysql://u:hunter2@h/db", "postgres://u:hunter2@h:port/db"} {
		_, _, err := parseURL(text)
		require.Error(t, err, text)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestSQLiteFileNamesAreEscaped(t *testing.T) {
	folder := t.TempDir()
	db, err := Open(t.Context(), Config{URL: "sqlite://" + folder + "/a%20%3F%23%25b.db"})
	require.NoError(t, err)
	require.NoError(t, db.Close())
	require.FileExists(t, folder+"/a ?#%b.db")
}

func TestSQLiteSettings(t *testing.T) {
	db, err := Open(t.Context(), Config{URL: "sqlite://" + t.TempDir() + "/store.db"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for pragma, want := range map[string]string{
		"journal_mode": "wal", "busy_timeout": "10000", "foreign_keys": "1", "synchronous": "1",
	} {
		for _, pool := range db.pools {
			var got string
			require.NoError(t, pool.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
			require.Equal(t, want, got, pragma)
		}
	}
	_, err = db.pools[1].ExecContext(t.Context(), "CREATE TABLE t (a)")
	require.Error(t, err, "readers do not write")
}

func TestNewer(t *testing.T) {
	ascending := []string{"", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta.2", "1.0.0-beta.11", "2.0.0-rc.1",
		"0.1.0", "1.0.0", "1.2.0", "1.10.0", "10.0.0"}
	for i, a := range ascending {
		for j, b := range ascending {
			if a != "" && i != j {
				require.Equal(t, i > j, newer(a, b), "newer(%q, %q)", a, b)
			}
		}
	}
}

func TestStamp(t *testing.T) {
	want := time.Date(2026, 3, 1, 8, 30, 15, 120000, time.UTC)
	value, err := at(want.In(time.FixedZone("X", -5*3600)).Add(999)).Value()
	require.NoError(t, err)
	require.Equal(t, "2026-03-01 08:30:15.000120Z", value)
	for _, src := range []any{value, want, want.In(time.FixedZone("X", 3600))} {
		var s stamp
		require.NoError(t, s.Scan(src))
		require.Empty(t, cmp.Diff(want, s.t))
	}
	value, err = stamp{}.Value()
	require.NoError(t, err)
	require.Nil(t, value)
	var s stamp
	require.Error(t, s.Scan("yesterday"))
	require.Error(t, s.Scan(1))
}

// The statements in SQL text name the columns of the rows.
func TestColumnLists(t *testing.T) {
	for list, row := range map[string]any{
		runColumns: &runRow{}, agentColumns: &agentRow{},
		transactionColumns: &transactionRow{}, holdColumns: &holdRow{}, topUpColumns: &topUpRow{},
	} {
		parsed, err := schema.Parse(row, &sync.Map{}, schema.NamingStrategy{})
		require.NoError(t, err)
		require.Equal(t, parsed.DBNames, strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' }))
	}
}

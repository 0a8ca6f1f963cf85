package store_test

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/internal/storetest"
	"agentmarket/marketplace"
	"agentmarket/store"
)

// What people search for, as every other value, is not in the log.
func TestSlowStatementsAreLoggedWithoutValues(t *testing.T) {
	for name, u := range map[string]string{"postgres": storetest.PostgresURL(t), "sqlite": storetest.SQLiteURL(t)} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			db := storetest.Open(t, store.Config{URL: u, SlowQuery: time.Nanosecond, Logger: slog.New(slog.NewJSONHandler(&log, nil))})
			_, err := db.Marketplace().Search(t.Context(), marketplace.Viewer{OrgID: "org_hidden"}, marketplace.CatalogQuery{Text: "hidden"}, time.Now())
			require.NoError(t, err)
			_, err = db.Marketplace().Organization(t.Context(), "org_hidden")
			require.Error(t, err)
			require.Contains(t, log.String(), "FROM listings")
			require.NotContains(t, log.String(), "hidden")
		})
	}
}

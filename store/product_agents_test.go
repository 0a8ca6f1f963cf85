package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
	"agentmarket/store"
)

// Statements that start from the catalog join the newest release of an agent by
// its column.
func TestNewestReleaseIsKept(t *testing.T) {
	for name, newURL := range empty {
		t.Run(name, func(t *testing.T) {
			u, by, now := newURL(t), audit.System("test"), time.Now()
			db, rows := open(t, store.Config{URL: u}), raw(t, u)
			require.NoError(t, db.Migrate(t.Context()))
			org, err := marketplace.NewOrganization("acme", now)
			require.NoError(t, err)
			require.NoError(t, db.Marketplace().CreateOrganization(t.Context(), by, org))
			for _, step := range []struct{ number, release string }{
				{"1.0.0-rc.1", ""}, {"1.0.0-rc.2", ""}, {"1.0.0", "1.0.0"}, {"2.0.0-beta", "1.0.0"},
				{"0.9.0", "1.0.0"}, {"1.10.0", "1.10.0"}, {"1.9.0", "1.10.0"},
			} {
				agent := product.Agent{ID: ids.New[ids.Agent](ids.PrefixAgent), OrgID: org.ID, Publisher: "acme", Name: "reviewer", CreatedAt: now}
				version, err := product.NewVersion(agent.ID, agentruntime.Manifest{Version: step.number},
					"registry.test/a@sha256:"+strings.Repeat("a", 64), now)
				require.NoError(t, err)
				_, _, added, err := db.Agents().AddVersion(t.Context(), by, agent, version)
				require.NoError(t, err)
				require.True(t, added)
				var got string
				require.NoError(t, rows.QueryRowContext(t.Context(), `SELECT COALESCE((SELECT v.number
					FROM agents AS a JOIN agent_versions AS v ON v.id = a.latest_release_id WHERE a.name = 'reviewer'), '')`).Scan(&got))
				require.Equal(t, step.release, got, "after %s", step.number)
			}
		})
	}
}

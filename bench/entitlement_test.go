package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/internal/storetest"
	"agentmarket/marketplace"
	"agentmarket/store"
)

// The market of BenchmarkClaim: a million entitlements, ten for each of a hundred
// thousand organizations, for five of ten thousand agents each.
const (
	claimOrgs   = 100_000
	claimAgents = 10_000
	// claimRound is how many claims an iteration makes: with the twenty of
	// make bench there are ten thousand samples.
	claimRound = 500
	// claimTarget bounds the 99th percentile.
	claimTarget = 5 * time.Millisecond
)

// BenchmarkClaim decides starts of random callers, as the API and the admission
// of a run do, from what PostgreSQL has stored: one query and the decision. It is
// compared with a query of one row by its primary key, which alternates with it.
func BenchmarkClaim(b *testing.B) {
	u := storetest.PostgresURL(b)
	fillClaims(b, u)
	db, err := store.Open(b.Context(), store.Config{URL: u})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	random := rand.New(rand.NewPCG(1, 2))
	for range 2 * claimRound { // warm: connections, prepared statements, caches
		decide(b, db, aCaller(random))
		lookUp(b, db, random)
	}

	var claims, lookUps []time.Duration
	answers := map[string]int{}
	for b.Loop() {
		for range claimRound {
			began := time.Now()
			answers[decide(b, db, aCaller(random))]++
			claims = append(claims, time.Since(began))
			began = time.Now()
			lookUp(b, db, random)
			lookUps = append(lookUps, time.Since(began))
		}
	}
	fmt.Printf("\n| what | samples | p50 | p99 | p50 ratio to the look-up |\n|---|---|---|---|---|\n")
	base := quantile(lookUps, 0.5)
	for _, kind := range []struct {
		name    string
		samples []time.Duration
	}{{"row by primary key", lookUps}, {"claim and decision", claims}} {
		p50 := quantile(kind.samples, 0.5)
		fmt.Printf("| %s | %d | %s | %s | %.2f |\n", kind.name, len(kind.samples),
			millis(p50), millis(quantile(kind.samples, 0.99)), p50.Seconds()/base.Seconds())
	}
	fmt.Println("answers:", answers)
	p99 := quantile(claims, 0.99)
	b.ReportMetric(float64(quantile(claims, 0.5).Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(p99.Microseconds())/1000, "p99-ms")
	b.ReportMetric(quantile(claims, 0.5).Seconds()/base.Seconds(), "ratio-to-lookup")
	b.ReportMetric(0, "ns/op") // of a whole round
	require.Less(b, p99, claimTarget, "99 of 100 decisions about a start")
	require.Greater(b, len(answers), 5, "the callers are of all sorts")
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1000) }

// numbered is the identifier that fillClaims gives to a number.
func numbered[T ~string](prefix string, n int) T { return T(fmt.Sprintf("%s_%026d", prefix, n)) }

// aCaller asks, four times of five, for an agent that its organization has rights
// for. One of twenty is of an organization that has none at all, a third are
// programs.
func aCaller(random *rand.Rand) marketplace.ClaimQuery {
	org := random.IntN(claimOrgs) + 1
	q := marketplace.ClaimQuery{
		OrgID: numbered[ids.Org]("org", org), At: time.Now(),
		AgentID: numbered[ids.Agent]("agt", (org*7+random.IntN(5)*13)%claimAgents+1),
	}
	if random.IntN(5) == 0 {
		q.AgentID = numbered[ids.Agent]("agt", random.IntN(claimAgents)+1)
	}
	if random.IntN(20) == 0 {
		q.OrgID = numbered[ids.Org]("org", claimOrgs+org)
	}
	if person := random.IntN(3); person > 0 {
		q.UserID = numbered[ids.User]("usr", 2*org-person+1)
	}
	return q
}

// decide returns the source of the right, or the code of the denial.
func decide(b *testing.B, db *store.DB, q marketplace.ClaimQuery) string {
	b.Helper()
	c, err := db.Marketplace().Claim(b.Context(), q)
	require.NoError(b, err)
	d, err := c.Decide(marketplace.Subject{Version: "1.0.0", Timeout: time.Minute}, q.At)
	var denial *fault.Error
	if errors.As(err, &denial) {
		return denial.Code
	}
	require.NoError(b, err)
	return string(d.Entitlement.Source)
}

func lookUp(b *testing.B, db *store.DB, random *rand.Rand) {
	b.Helper()
	_, err := db.Marketplace().Organization(b.Context(), numbered[ids.Org]("org", random.IntN(claimOrgs)+1))
	require.NoError(b, err)
}

// fillClaims fills the tables that a claim reads.
func fillClaims(b *testing.B, databaseURL string) {
	b.Helper()
	ctx := b.Context()
	conn, err := pgx.Connect(ctx, databaseURL)
	require.NoError(b, err)
	defer func() { require.NoError(b, conn.Close(context.Background())) }()
	text := strings.NewReplacer(":orgs", strconv.Itoa(claimOrgs), ":agents", strconv.Itoa(claimAgents)).Replace(claimMarket)
	for _, statements := range []string{text, "VACUUM ANALYZE"} {
		_, err = conn.PgConn().Exec(ctx, statements).ReadAll()
		require.NoError(b, err)
	}
}

// claimMarket makes the rows. Identifiers are numbers, so that a caller can be
// drawn without asking. Of the rights a fifth was revoked, a third has or had an
// end, a tenth is a team's and a tenth a person's; a fifth fixes a price. An
// agent has a price of the past, one in effect and one that is announced, and an
// organization two people, most of them in both of its teams.
const claimMarket = `
CREATE FUNCTION numbered(prefix text, n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT prefix || '_' || lpad(n::text, 26, '0') $$;

INSERT INTO organizations (id, name, created_at)
SELECT numbered('org', n), 'org-' || n, now() FROM generate_series(1, :orgs) AS n;

INSERT INTO accounts (id, kind, org_id, balance_micros, credit_micros, currency)
SELECT kind || ':' || numbered('org', n), kind, numbered('org', n), n % 10 * 1000, 0, 'USD'
FROM generate_series(1, :orgs) AS n, (VALUES ('wallet'), ('held'), ('earnings')) AS kinds (kind);

INSERT INTO agents (id, org_id, publisher, name, summary, search_text, latest, created_at, updated_at)
SELECT numbered('agt', n), numbered('org', n % 1000 + 1), 'org-' || n % 1000 + 1, 'agent-' || n, '', '', '', now(), now()
FROM generate_series(1, :agents) AS n;

INSERT INTO listings (agent_id, org_id, publisher, name, content, visibility, status, notice, approved, checks,
    model, created_at, updated_at, search, newest_key, rating_key)
SELECT id, org_id, publisher, name, '{}', CASE WHEN random() < 0.8 THEN 'public' ELSE 'private' END,
    'published', '', true, '[]', 'per_run', now(), now(), '', 0, 0
FROM agents;

INSERT INTO prices (id, agent_id, model, currency, terms, effective_from, created_by, created_at)
SELECT numbered('prc', n), numbered('agt', (n - 1) % :agents + 1), 'per_run', 'USD',
    '{"per_run": 1000, "failed_runs": "free"}', now() + make_interval(days => (n - 1) / :agents * 30 - 45), '', now()
FROM generate_series(1, 3 * :agents) AS n;

INSERT INTO users (id, email, name, created_at)
SELECT numbered('usr', n), n || '@example.com', 'somebody', now() FROM generate_series(1, 2 * :orgs) AS n;

INSERT INTO members (org_id, user_id, role, joined_at)
SELECT numbered('org', (n + 1) / 2), numbered('usr', n), 'member', now() FROM generate_series(1, 2 * :orgs) AS n;

INSERT INTO teams (id, org_id, name, created_at)
SELECT numbered('team', n), numbered('org', (n + 1) / 2), 'team-' || n, now() FROM generate_series(1, 2 * :orgs) AS n;

INSERT INTO team_members (team_id, org_id, user_id)
SELECT teams.id, org_id, user_id FROM teams JOIN members USING (org_id) WHERE random() < 0.7;

INSERT INTO entitlements (id, org_id, agent_id, source, created_at, expires_at, revoked_at, team_id, user_id, price_id)
SELECT numbered('ent', n), numbered('org', org), numbered('agt', agent),
    CASE WHEN source < 0.5 THEN 'purchase' WHEN source < 0.7 THEN 'subscription' ELSE 'grant' END, now(),
    CASE WHEN random() < 0.33 THEN now() + make_interval(days => (random() * 100)::int - 50) END,
    CASE WHEN random() < 0.2 THEN now() END,
    CASE WHEN whose < 0.1 THEN numbered('team', org * 2) ELSE '' END,
    CASE WHEN whose > 0.9 THEN numbered('usr', org * 2) ELSE '' END,
    CASE WHEN source BETWEEN 0.5 AND 0.7 THEN numbered('prc', agent) ELSE '' END
FROM (
    SELECT n, org, (org * 7 + n % 10 / 2 * 13) % :agents + 1 AS agent, random() AS source, random() AS whose
    FROM (SELECT n, (n + 9) / 10 AS org FROM generate_series(1, 10 * :orgs) AS n) AS numbers
) AS drawn;

INSERT INTO installations (org_id, agent_id, channel, version_id, version, consented, consented_at, consented_by,
    created_at, updated_at)
SELECT DISTINCT org_id, agent_id, 'stable', '', '', '{"tools": ["search"]}'::jsonb, now(), 'usr', now(), now()
FROM entitlements;

INSERT INTO grants (id, agent_id, org_id, team_id, user_id, access, created_by, created_at)
SELECT numbered('gra', n), numbered('agt', n * 7 % :agents + 1), numbered('org', n), '', '', 'view', '', now()
FROM generate_series(1, :orgs) AS n;
`

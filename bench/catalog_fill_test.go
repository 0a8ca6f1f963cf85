package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
	"agentmarket/store"
)

// The publishers of the catalog.
const catalogPublishers = 2000

// goods is a listing of the catalog.
type goods struct {
	publisher, name, title, summary, readme string
	categories, tags                        []string
}

// aListing draws a listing: a title of two to six words, a summary of fourteen, a
// readme of about a hundred, one to three of twenty categories, some tags.
func (w *wordList) aListing(n int) goods {
	g := goods{publisher: fmt.Sprintf("publisher-%d", n%catalogPublishers), summary: strings.Join(w.several(14), " "),
		readme: strings.Join(w.several(60+w.random.IntN(80)), " ")}
	name := w.several(2)
	g.name = strings.Join(name, "-") + fmt.Sprint("-", n)
	g.title = strings.Join(append(name, w.several(w.random.IntN(5))...), " ")
	for range 1 + w.random.IntN(3) {
		g.categories = append(g.categories, w.category())
	}
	g.tags = w.several(w.random.IntN(4))
	slices.Sort(g.categories)
	slices.Sort(g.tags)
	g.categories, g.tags = slices.Compact(g.categories), slices.Compact(g.tags)
	return g
}

// vector is what the store searches the listing by, which fillCatalog checks with
// one of its own.
func (g goods) vector() string {
	var terms []string
	add := func(prefix string, texts ...string) {
		for _, word := range marketplace.SearchWords(strings.Join(texts, " ")) {
			terms = append(terms, "'"+prefix+word+"'")
		}
	}
	labels := strings.Join(append(g.categories, g.tags...), " ")
	add("3:", g.name, g.title, g.publisher)
	add("2:", g.name, g.title, g.publisher, g.summary, labels)
	add("1:", g.name, g.title, g.publisher, g.summary, labels, g.readme)
	for prefix, facets := range map[string][]string{"c:": g.categories, "t:": g.tags, "p:": {g.publisher}, "m:": {"free"}} {
		for _, facet := range facets {
			terms = append(terms, "'"+prefix+facet+"'")
		}
	}
	slices.Sort(terms)
	return strings.Join(slices.Compact(terms), " ")
}

func (g goods) content() marketplace.ListingContent {
	return marketplace.ListingContent{Title: g.title, Summary: g.summary, Readme: g.readme, Categories: g.categories, Tags: g.tags}
}

// fillCatalog fills a catalog and analyzes it. Indexes are made at the end, as one
// does with so many rows.
func fillCatalog(b *testing.B, databaseURL string, db *store.DB, w *wordList) {
	b.Helper()
	ctx := b.Context()
	conn, err := pgx.Connect(ctx, databaseURL)
	require.NoError(b, err)
	defer func() { require.NoError(b, conn.Close(context.Background())) }()
	run := func(statement string) {
		_, err := conn.PgConn().Exec(ctx, statement).ReadAll()
		require.NoError(b, err, statement)
	}
	rows, err := conn.Query(ctx, `SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'listings' AND indexname <> 'listings_pkey'`)
	require.NoError(b, err)
	indexes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Name, Definition string }])
	require.NoError(b, err)
	for _, index := range indexes {
		run("DROP INDEX " + index.Name)
	}
	run(fmt.Sprintf(`INSERT INTO organizations (id, name, created_at)
		SELECT 'org_' || lpad(n::text, 26, '0'), 'publisher-' || n, now() FROM generate_series(0, %d) AS n`, catalogPublishers-1))

	var agents, listings, grams bytes.Buffer
	words := map[string]bool{}
	for n := range catalogListings {
		g := w.aListing(n)
		for _, word := range marketplace.SearchWords(g.name + " " + g.title + " " + g.publisher) {
			words[word] = true
		}
		agent, org := numbered[ids.Agent]("agt", n), numbered[ids.Org]("org", n%catalogPublishers)
		fmt.Fprintf(&agents, "%s\t%s\t%s\t%s\t\t\t1.0.0\tnow\tnow\n", agent, org, g.publisher, g.name)
		visibility := "public"
		if n%33 == 0 {
			visibility = "private"
		}
		content, err := json.Marshal(map[string]any{"title": g.title, "summary": g.summary, "readme": g.readme, "categories": g.categories, "tags": g.tags})
		require.NoError(b, err)
		ratings := max(0, w.random.Int64N(60)-40)
		stars := ratings * (2 + w.random.Int64N(4))
		fmt.Fprintf(&listings, "%s\t%s\t%s\t%s\t%s\t%s\tpublished\t\tt\t[]\tfree\tnow\tnow\tnow\tnow\t%s\t%d\t%d\t%d\t%d\t%d\n",
			agent, org, g.publisher, g.name, content, visibility, g.vector(), 1_700_000_000_000_000+w.random.Int64N(1e15), int64(math.Pow(w.random.Float64(), 8)*1e6), ratings, stars,
			marketplace.RatingKey(ratings, stars))
	}
	for word := range words {
		for _, gram := range marketplace.Trigrams(word) {
			fmt.Fprintf(&grams, "%s\t%s\n", gram, word)
		}
	}
	for _, table := range []struct {
		columns string
		rows    *bytes.Buffer
	}{
		{"agents (id, org_id, publisher, name, summary, search_text, latest, created_at, updated_at)", &agents},
		{`listings (agent_id, org_id, publisher, name, content, visibility, status, notice, approved, checks, model, created_at, updated_at,
			submitted_at, published_at, search, newest_key, runs, ratings, stars, rating_key)`, &listings},
		{"search_grams (gram, word)", &grams},
	} {
		_, err := conn.PgConn().CopyFrom(ctx, table.rows, "COPY "+table.columns+" FROM STDIN")
		require.NoError(b, err, table.columns)
	}
	for _, index := range indexes {
		run(index.Definition)
	}
	// Some of what is private is granted to the reader.
	run(`INSERT INTO grants (id, agent_id, org_id, team_id, user_id, access, created_by, created_at)
		SELECT 'gra_' || n, 'agt_' || lpad((n * 33)::text, 26, '0'), 'org_' || lpad('1', 26, '0'),
			CASE n % 3 WHEN 0 THEN 'team_a' ELSE '' END, '', 'view', '', now() FROM generate_series(1, 60) AS n`)
	run("VACUUM ANALYZE")
	requireStoredAlike(b, conn, db, w.aListing(catalogListings))
}

// requireStoredAlike checks that the store would have stored what fillCatalog did.
func requireStoredAlike(b *testing.B, conn *pgx.Conn, db *store.DB, g goods) {
	b.Helper()
	ctx, by, now := b.Context(), audit.System("bench"), time.Now()
	org := marketplace.Organization{ID: numbered[ids.Org]("org", catalogListings%catalogPublishers), Name: g.publisher}
	agent, err := db.Agents().EnsureAgent(ctx, by, product.Agent{
		ID: numbered[ids.Agent]("agt", catalogListings), OrgID: org.ID, Publisher: g.publisher, Name: g.name, CreatedAt: now, UpdatedAt: now})
	require.NoError(b, err)
	l, err := marketplace.NewListing(agent.ID, org, g.name, g.content(), marketplace.VisibilityPublic, now)
	require.NoError(b, err)
	require.NoError(b, l.Submit(nil, false, now))
	require.NoError(b, db.Marketplace().CreateListing(ctx, by, l))
	var alike bool
	err = conn.QueryRow(ctx, `SELECT search = CAST(CAST($1 AS text) AS tsvector) FROM listings WHERE agent_id = $2`,
		g.vector(), string(agent.ID)).Scan(&alike)
	require.NoError(b, err)
	require.True(b, alike, "the store searches a listing by what the benchmark thinks it does")
}

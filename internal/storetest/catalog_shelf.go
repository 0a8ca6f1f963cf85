package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// goods is a listing of the shelf.
type goods struct {
	publisher, name, title, summary, readme string
	categories, tags                        []string
	visibility                              marketplace.Visibility // empty: public
	model                                   marketplace.Model      // empty: free
	rating                                  int                    // of one review; 0: none
	published                               time.Duration          // after start
	change                                  func(*marketplace.Listing) error
}

// shelfGoods are listings in many scripts, with what databases and query
// languages treat in a special way. Later ones have larger identifiers.
var shelfGoods = []goods{
	{publisher: "acme", name: "invoice-reader", title: "Invoice reader", summary: "Reads invoices and receipts", readme: "Extracts totals, dates and VAT numbers.", categories: []string{"finance", "documents"}, tags: []string{"pdf", "ocr"}, model: marketplace.ModelPerRun, rating: 4},
	{publisher: "acme", name: "receipt-scanner", title: "Receipt scanner", summary: "Knows every invoice format", readme: "Scans.", categories: []string{"finance"}, tags: []string{"ocr"}, published: 9 * time.Hour},
	{publisher: "globex", name: "ledger-check", title: "Ledger check", summary: "Checks a ledger", readme: "Compares each invoice with the bank statement.", categories: []string{"finance"}, rating: 2, published: 2 * time.Hour},
	{publisher: "globex", name: "invoices", title: "Many invoices", summary: "Writes them", categories: []string{"documents"}, published: -time.Hour},
	{publisher: "acme", name: "cafe-finder", title: "Café Finder", summary: "Trouve un café près de chez vous", readme: "Über Zürich, naïve façades, smörgåsbord.", categories: []string{"travel"}, tags: []string{"maps"}},
	{publisher: "globex", name: "routes", title: "ÜBER Routen", summary: "Plant Straßen und Wege", readme: "resume résumé re\u0301sume\u0301", categories: []string{"travel"}, rating: 5},
	{publisher: "acme", name: "tokyo", title: "東京ガイド", summary: "東京の観光案内", readme: "日本語で答えます", categories: []string{"travel"}},
	{publisher: "globex", name: "beijing", title: "北京 导游", summary: "中国 旅游", categories: []string{"travel"}},
	{publisher: "acme", name: "seoul", title: "서울 가이드", summary: "관광 안내", categories: []string{"travel"}},
	{publisher: "acme", name: "k8s-doctor", title: "k8s Doctor", summary: "Diagnoses Kubernetes 1.31 clusters", readme: "CrashLoopBackOff, OOMKilled: kubectl get pods -o=wide", categories: []string{"operations"}, tags: []string{"k8s", "sre-101"}, model: marketplace.ModelSubscription},
	{publisher: "globex", name: "gpt-4o-mini-bench", title: "GPT-4o mini bench", summary: "2x faster than v3.5", categories: []string{"operations"}, tags: []string{"4o"}},
	{publisher: "acme", name: "c-plus-plus", title: "C++ and C# reviewer", summary: "Reviews C, C++ & C#", categories: []string{"operations"}, published: 3 * time.Hour},
	{publisher: "globex", name: "o-reilly", title: "O'Reilly's \"quoted\" agent", summary: `100% <b>bold</b> | (pipes) !:* \ {braces} ^caret`, readme: "it''s; -- DROP TABLE listings; /* x */ 'a':1A", categories: []string{"office"}},
	{publisher: "acme", name: "the-the", title: "The The", summary: "the of and a to in", readme: "the the the the", categories: []string{"office"}},
	{publisher: "globex", name: "and-or-not", title: "AND OR NOT NEAR", summary: "NEAR operators", readme: "rowid rank words_a facets", categories: []string{"office"}},
	{publisher: "acme", name: "ligature", title: "Oﬃce ﬁles", summary: "ＦＵＬＬ width ①②③ Ⅷ", categories: []string{"office"}, published: time.Hour},
	{publisher: "globex", name: "schet", title: "Счёт-фактура", summary: "Читает счета", categories: []string{"finance"}},
	{publisher: "acme", name: "ellinika", title: "Ελληνικά", summary: "Μεταφράζει κείμενα", categories: []string{"translation"}},
	{publisher: "globex", name: "istanbul", title: "İSTANBUL ılık", summary: "Çeviri", categories: []string{"translation"}},
	{publisher: "acme", name: "hindi", title: "हिन्दी अनुवाद", summary: "अनुवाद", categories: []string{"translation"}},
	{publisher: "acme", name: "arabic", title: "مرحبا", summary: "ترجمة", categories: []string{"translation"}},
	{publisher: "globex", name: "launcher", title: "🚀 Launcher 👩‍🚀", summary: "🚀🚀", categories: []string{"office"}},
	{publisher: "acme", name: "osage", title: "\U000104d0\U000104d1 𝒜𝓁𝓅𝒽𝒶", summary: "Letters that came late to Unicode: \U0001e900\U00016e40", categories: []string{"translation"}},
	{publisher: "acme", name: "longest", title: strings.Repeat("a", 80), summary: "one word " + strings.Repeat("b", 100), categories: []string{"office"}},
	{publisher: "acme", name: "in-private", title: "Private invoice agent", summary: "inside", tags: []string{"inside"}, visibility: marketplace.VisibilityPrivate, published: 5 * time.Hour},
	{publisher: "acme", name: "in-house", title: "House invoice agent", summary: "inside", tags: []string{"inside"}, visibility: marketplace.VisibilityOrganization, published: 4 * time.Hour},
	{publisher: "acme", name: "in-public", title: "Public agent", summary: "inside", tags: []string{"inside"}, published: 6 * time.Hour},
	{publisher: "globex", name: "in-secret", title: "Secret invoice agent", summary: "nobody sees it", visibility: marketplace.VisibilityPrivate},
	{publisher: "globex", name: "suspended", title: "Suspended invoice agent", summary: "inside", change: func(l *marketplace.Listing) error { return l.Suspend("no") }},
	{publisher: "globex", name: "deprecated", title: "Deprecated invoice agent", summary: "inside", change: func(l *marketplace.Listing) error { return l.Deprecate("no") }},
	{publisher: "acme", name: "draft", title: "Draft invoice agent", summary: "inside", change: func(l *marketplace.Listing) error { l.Status = marketplace.ListingDraft; return nil }},
}

// shelf is a catalog with buyers who look at it.
type shelf struct {
	Stores
	acme, globex, initech, hooli marketplace.Organization
	person                       ids.User
	// reader is of initech, in a team that was granted in-private.
	reader   marketplace.Viewer
	goods    []goods
	listings map[string]marketplace.Listing
}

func newShelf(t *testing.T, s Stores) *shelf {
	t.Helper()
	c := &shelf{Stores: s, listings: map[string]marketplace.Listing{}}
	for name, org := range map[string]*marketplace.Organization{"acme": &c.acme, "globex": &c.globex, "initech": &c.initech, "hooli": &c.hooli} {
		*org = anOrganization(t, s, name)
	}
	for _, g := range shelfGoods {
		c.put(t, g)
	}
	// More of the same kind, for pages.
	for i := range 30 {
		c.put(t, goods{publisher: []string{"acme", "globex"}[i%2], name: fmt.Sprintf("worker-%02d", i), title: fmt.Sprintf("Worker %d", i),
			summary: []string{"Works in finance", "Writes a report", "Waits"}[i%3], readme: "An agent in a row of agents",
			categories: []string{[]string{"office", "operations"}[i%2]}, tags: []string{fmt.Sprint("row-", i%4)},
			published: time.Duration((i*7)%30) * time.Minute})
	}
	m := market{Stores: s, buyer: c.initech, agent: product.Agent{ID: c.listings["in-private"].AgentID}}
	team := m.team(t, c.initech, "readers")
	c.reader = marketplace.Viewer{OrgID: c.initech.ID, UserID: "usr_reader", Teams: []ids.Team{"team_other", team.ID}}
	c.person = m.member(t, c.hooli, "ada")
	m.grant(t, marketplace.AccessView, func(g *marketplace.Grant) { g.TeamID = team.ID })
	m.grant(t, marketplace.AccessRun, func(g *marketplace.Grant) { g.TeamID = team.ID })
	m.grant(t, marketplace.AccessView, func(g *marketplace.Grant) { g.OrgID, g.UserID = c.hooli.ID, c.person })
	m.grant(t, marketplace.AccessView, func(g *marketplace.Grant) { g.OrgID, g.ExpiresAt = c.globex.ID, after(time.Hour) })
	m.agent.ID = c.listings["in-house"].AgentID
	m.grant(t, marketplace.AccessView, func(g *marketplace.Grant) { g.OrgID = c.globex.ID })
	m.agent.ID = c.listings["in-secret"].AgentID
	revoked := m.grant(t, marketplace.AccessView, nil)
	require.NoError(t, s.Marketplace.RevokeGrant(t.Context(), actor, m.agent.ID, revoked.ID, start))
	return c
}

// put publishes goods.
func (c *shelf) put(t *testing.T, g goods) {
	t.Helper()
	org := map[string]marketplace.Organization{"acme": c.acme, "globex": c.globex}[g.publisher]
	agent, version := publish(t, c.Stores, org, g.name, "1.0.0", start)
	if g.model == "" {
		g.model = marketplace.ModelFree
	} else {
		p := aPrice(agent, 5, start)
		p.Model = g.model
		setPrice(t, c.Stores, p)
	}
	if g.visibility == "" {
		g.visibility = marketplace.VisibilityPublic
	}
	l, err := marketplace.NewListing(agent.ID, org, g.name, marketplace.ListingContent{
		Title: g.title, Summary: g.summary, Readme: g.readme, Categories: g.categories, Tags: g.tags,
	}, g.visibility, start)
	require.NoError(t, err)
	require.NoError(t, l.Submit(nil, false, after(g.published)))
	createListing(t, c.Stores, l)
	if g.rating > 0 {
		ran(t, c.Stores, c.initech, agent, version)
		putReview(t, c.Stores, aReview(t, c.initech, version, g.rating))
	}
	if g.change != nil {
		changeListing(t, c.Stores, agent.ID, g.change)
	}
	if c.listings[g.name], err = c.Marketplace.Listing(t.Context(), agent.ID); err != nil {
		require.NoError(t, err)
	}
	c.goods = append(c.goods, g)
}

// names reads every page of a query.
func (c *shelf) names(t *testing.T, v marketplace.Viewer, q marketplace.CatalogQuery) (names []string, similar bool) {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 7
	}
	names = []string{}
	for {
		page, err := c.Marketplace.Search(t.Context(), v, q, start)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Listings), q.Limit)
		names = append(names, listingNames(page.Listings)...)
		if q.After = page.Next; q.After.Agent == "" {
			return names, page.Similar
		}
		require.Len(t, page.Listings, q.Limit)
		require.False(t, page.Similar)
	}
}

func (c *shelf) viewers() []marketplace.Viewer {
	return []marketplace.Viewer{{}, c.reader, {OrgID: c.acme.ID, UserID: "usr_x"}, {OrgID: c.globex.ID}}
}

// expect is what a query finds, the plain way: every listing is looked at.
func (c *shelf) expect(v marketplace.Viewer, q marketplace.CatalogQuery) []string {
	type hit struct {
		tier int
		key  int64
		l    marketplace.Listing
	}
	var hits []hit
	words := marketplace.SearchWords(q.Text)
	for _, g := range c.goods {
		l := c.listings[g.name]
		tier := 0
		if len(words) > 0 {
			tier = tierOf(l, words)
			if tier == 0 {
				continue
			}
		}
		if l.Status != marketplace.ListingPublished || !c.visible(v, l) ||
			q.Category != "" && !slices.Contains(l.Content.Categories, q.Category) || q.Tag != "" && !slices.Contains(l.Content.Tags, q.Tag) ||
			q.Publisher != "" && q.Publisher != l.Publisher || q.Model != "" && q.Model != l.Model {
			continue
		}
		h := hit{key: l.Runs, l: l}
		switch q.Sort {
		case marketplace.SortNewest:
			h.key = l.PublishedAt.UnixMicro()
		case marketplace.SortBestRated:
			h.key = marketplace.RatingKey(l.Ratings, l.Stars)
		case marketplace.SortMostUsed:
		default:
			h.tier = tier
		}
		hits = append(hits, h)
	}
	slices.SortFunc(hits, func(a, b hit) int {
		return cmp.Or(cmp.Compare(b.tier, a.tier), cmp.Compare(b.key, a.key), cmp.Compare(b.l.AgentID, a.l.AgentID))
	})
	names := []string{}
	for _, h := range hits {
		names = append(names, h.l.Name)
	}
	return names
}

func (c *shelf) visible(v marketplace.Viewer, l marketplace.Listing) bool {
	return l.Visibility == marketplace.VisibilityPublic || l.OrgID == v.OrgID ||
		l.Name == "in-private" && (v.OrgID == c.initech.ID || v.OrgID == c.globex.ID)
}

// tierOf is 3 when all words are in name, title or publisher, 2 when they are in
// these, summary or labels, 1 when they are anywhere, 0 when they are not.
func tierOf(l marketplace.Listing, words []string) int {
	texts := []string{l.Name + " " + l.Content.Title + " " + l.Publisher,
		l.Content.Summary + " " + strings.Join(l.Content.Categories, " ") + " " + strings.Join(l.Content.Tags, " "), l.Content.Readme}
	var there []string
	for i, text := range texts {
		there = append(there, marketplace.SearchWords(text)...)
		all := !slices.ContainsFunc(words, func(w string) bool {
			return !slices.ContainsFunc(there, func(o string) bool { return strings.HasPrefix(o, w) })
		})
		if all {
			return 3 - i
		}
	}
	return 0
}

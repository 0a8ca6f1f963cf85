package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/marketplace"
)

var catalogTests = []testCase{
	{"the same queries find the same listings in the same order", func(t *testing.T, s Stores) {
		c := newShelf(t, s)
		for _, q := range shelfQueries {
			got, similar := c.names(t, c.reader, q.query)
			require.Equal(t, q.want, got, "%+v", q.query)
			require.Equal(t, q.similar, similar, "similar: %+v", q.query)
		}
	}},
	{"every query agrees with reading all listings", func(t *testing.T, s Stores) {
		c := newShelf(t, s)
		viewers := c.viewers()
		for i, q := range c.manyQueries() {
			viewer := viewers[(i+i/len(viewers))%len(viewers)] // in turn, and not in step with the orders
			want := c.expect(viewer, q)
			got, similar := c.names(t, viewer, q)
			if similar {
				require.Empty(t, want, "%+v", q)
				continue
			}
			require.Equal(t, want, got, "%+v for %+v", q, viewer)
		}
	}},
	{"a viewer sees what is public, its own, and what was granted", func(t *testing.T, s Stores) {
		c := newShelf(t, s)
		inside := marketplace.CatalogQuery{Tag: "inside"}
		for name, v := range map[string]struct {
			viewer marketplace.Viewer
			at     time.Time
			want   []string
		}{
			"nobody":       {marketplace.Viewer{}, start, []string{"in-public"}},
			"publisher":    {marketplace.Viewer{OrgID: c.acme.ID}, start, []string{"in-public", "in-house", "in-private"}},
			"organization": {marketplace.Viewer{OrgID: c.globex.ID}, start, []string{"in-public", "in-private"}},
			"program":      {marketplace.Viewer{OrgID: c.initech.ID}, start, []string{"in-public"}},
			"team":         {marketplace.Viewer{OrgID: c.initech.ID, UserID: "usr_x", Teams: c.reader.Teams}, start, []string{"in-public", "in-private"}},
			"person":       {marketplace.Viewer{OrgID: c.hooli.ID, UserID: c.person}, start, []string{"in-public", "in-private"}},
			"other person": {marketplace.Viewer{OrgID: c.hooli.ID, UserID: "usr_x"}, start, []string{"in-public"}},
			"expired":      {marketplace.Viewer{OrgID: c.globex.ID}, after(2 * time.Hour), []string{"in-public"}},
		} {
			page, err := s.Marketplace.Search(t.Context(), v.viewer, inside, v.at)
			require.NoError(t, err)
			require.Equal(t, v.want, listingNames(page.Listings), name)
		}
	}},
	{"a page comes with everything of its listings", func(t *testing.T, s Stores) {
		c := newShelf(t, s)
		page, err := s.Marketplace.Search(t.Context(), c.reader, marketplace.CatalogQuery{Text: "invoice"}, start)
		require.NoError(t, err)
		require.NotEmpty(t, page.Listings)
		for _, l := range page.Listings {
			loaded, err := s.Marketplace.Listing(t.Context(), l.AgentID)
			require.NoError(t, err)
			requireSame(t, loaded, l)
		}
	}},
	{"pages do not move while listings are published, changed and withdrawn", func(t *testing.T, s Stores) {
		c := newShelf(t, s)
		for _, sort := range sorts {
			for i, q := range []marketplace.CatalogQuery{{}, {Text: "a"}, {Text: "in"}, {Category: "office"}, {Category: "office", Text: "w"}} {
				q.Sort = sort
				want, _ := c.names(t, c.reader, q)
				q.Limit = 3
				var got []string
				for n := 0; n == 0 || q.After.Agent != ""; n++ {
					page, err := s.Marketplace.Search(t.Context(), c.reader, q, start)
					require.NoError(t, err)
					got, q.After = append(got, listingNames(page.Listings)...), page.Next
					require.True(t, len(page.Listings) == 3 || page.Next.Agent == "", "a page is full unless it is the last")
					if n > 2 {
						continue
					}
					c.put(t, goods{publisher: "acme", name: fmt.Sprint("intruder-", len(c.goods)), title: "A new agent in between",
						summary: "It works", categories: []string{"office"}, published: time.Duration(100+len(c.goods)) * time.Hour})
				}
				require.Subset(t, got, want, "%s, query %d: nothing is lost", sort, i)
				seen := map[string]bool{}
				for _, name := range got {
					require.False(t, seen[name], "%s, query %d: %s is there twice", sort, i, name)
					seen[name] = true
				}
			}
		}
	}},
	{"what is edited or taken out is found as it is now", func(t *testing.T, s Stores) {
		c := newShelf(t, s)
		find := func(text string) []string {
			got, similar := c.names(t, c.reader, marketplace.CatalogQuery{Text: text})
			require.False(t, similar)
			return got
		}
		agent := c.listings["ledger-check"].AgentID
		require.Equal(t, []string{"ledger-check"}, find("ledger"))
		changeListing(t, s, agent, func(l *marketplace.Listing) error {
			content := l.Content
			content.Title, content.Summary, content.Readme, content.Tags = "Zebra counter", "Counts", "", []string{"quagga"}
			return l.Edit(content, l.Visibility, false, after(time.Hour))
		})
		require.Equal(t, []string{"ledger-check"}, find("zebra quagga"))
		require.Equal(t, []string{"ledger-check"}, find("ledger"), "by its name")
		require.Equal(t, []string{}, find("compares statement"))
		got, similar := c.names(t, c.reader, marketplace.CatalogQuery{Text: "zepra"})
		require.True(t, similar)
		require.Equal(t, []string{"ledger-check"}, got)
		changeListing(t, s, agent, func(l *marketplace.Listing) error { return l.Deprecate("old") })
		require.Equal(t, []string{}, find("zebra"))
		changeListing(t, s, agent, func(l *marketplace.Listing) error { return l.Restore() })
		require.Equal(t, []string{"ledger-check"}, find("zebra"))
	}},
	{"no query is an error", func(t *testing.T, s Stores) {
		c := newShelf(t, s)
		orders := append(slices.Clone(sorts), "nonsense", "runs; DROP TABLE listings")
		for i, text := range hostile {
			for j, q := range []marketplace.CatalogQuery{
				{Text: text}, {Text: "agent " + text}, {Category: text}, {Tag: text, Text: text}, {Publisher: text}, {Model: marketplace.Model(text)},
				{After: marketplace.CatalogCursor{Tier: -1, Key: -1 << 63, Agent: "x" + "\u00e9"}, Text: text},
			} {
				q.Sort, q.Limit = orders[(i+j)%len(orders)], 5
				_, err := s.Marketplace.Search(t.Context(), c.reader, q, start)
				require.NoError(t, err, "%+v", q)
			}
		}
		got, _ := c.names(t, c.reader, marketplace.CatalogQuery{})
		require.Equal(t, c.expect(c.reader, marketplace.CatalogQuery{}), got)
	}},
	{"a listing of any size is found by its words", func(t *testing.T, s Stores) {
		c := newShelf(t, s)
		long := ""
		for i := range 7000 {
			long += fmt.Sprintf("w%06d ", i)
		}
		dense := ""
		for i := 0; len(dense) < marketplace.MaxReadme-20; i++ {
			dense += "㌀㌀㌀㌀㌀" + string(rune('一'+i)) + " " // four characters each, when they are taken apart
		}
		c.put(t, goods{publisher: "acme", name: "wordy", title: "Wordy", summary: "Has many words", readme: long})
		c.put(t, goods{publisher: "acme", name: "dense", title: "Dense", summary: "Has long words", readme: dense})
		got, similar := c.names(t, c.reader, marketplace.CatalogQuery{Text: "w006999 wordy"})
		require.False(t, similar)
		require.Equal(t, []string{"wordy"}, got)
		got, similar = c.names(t, c.reader, marketplace.CatalogQuery{Text: "アハート dense"})
		require.False(t, similar)
		require.Equal(t, []string{"dense"}, got)
	}},
}

package store

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gorm.io/gorm"

	"agentmarket/marketplace"
)

// selectPlaced reads the first listings after a place in an order that match and
// that the viewer may see: public ones, those of the own organization, and those
// that were granted to it. The last two are few, and public ones have indexes of
// their own, which is why they are apart.
//
// %[1]s is the column of the order, %[2]s the public ones, %[3]s that one of the
// others matches.
const selectPlaced = `
WITH granted AS MATERIALIZED (
    SELECT DISTINCT agent_id FROM grants
    WHERE org_id = @org AND team_id IN @teams AND user_id IN @users
        AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > @now)
), %[2]s, own AS (
    SELECT agent_id, %[1]s AS place FROM listings
    WHERE org_id = @org AND status = 'published' AND visibility IN ('organization', 'private')
        AND (%[1]s, agent_id) < (@place, @agent) AND %[3]s
    ORDER BY %[1]s DESC, agent_id DESC LIMIT @limit
), given AS (
    SELECT listings.agent_id, %[1]s AS place FROM granted JOIN listings ON listings.agent_id = granted.agent_id
    WHERE org_id <> @org AND status = 'published' AND visibility = 'private'
        AND (%[1]s, listings.agent_id) < (@place, @agent) AND %[3]s
    ORDER BY %[1]s DESC, listings.agent_id DESC LIMIT @limit
), page AS MATERIALIZED (
    SELECT agent_id, place
    FROM (SELECT * FROM open UNION ALL SELECT * FROM own UNION ALL SELECT * FROM given) AS visible
    ORDER BY place DESC, agent_id DESC LIMIT @limit
)
SELECT listed.*, place FROM page JOIN (` + selectListing + `) AS listed ON listed.agent_id = page.agent_id
ORDER BY place DESC, page.agent_id DESC`

// openInOrder reads public listings by the index of the order.
const openInOrder = `open AS (
    SELECT agent_id, %[1]s AS place FROM listings
    WHERE status = 'published' AND visibility = 'public' AND (%[1]s, agent_id) < (@place, @agent)
    ORDER BY %[1]s DESC, agent_id DESC LIMIT @limit
)`

// openMatching reads public listings that match.
//
// On PostgreSQL what many listings match is found soonest in the index of the
// order, among the next 300, and what few match in the index of the words, whose
// hits are then sorted. Which of the two it is nobody knows before (the planner
// takes words for independent, and does not know that they are kept out of line),
// so the first is tried, and the second follows where it was not enough.
var openMatching = map[dialect]string{
	postgresDialect: `near AS MATERIALIZED (
    SELECT agent_id, %[1]s AS place, search FROM listings
    WHERE status = 'published' AND visibility = 'public' AND (%[1]s, agent_id) < (@place, @agent)
    ORDER BY %[1]s DESC, agent_id DESC LIMIT 300
), nearest AS MATERIALIZED (
    SELECT agent_id, place FROM near WHERE search @@ CAST(@match AS tsquery)
    ORDER BY place DESC, agent_id DESC LIMIT @limit
), enough AS MATERIALIZED (
    SELECT (SELECT count(*) FROM near) < 300 OR (SELECT count(*) FROM nearest) >= @limit AS yes
), hits AS MATERIALIZED (
    SELECT agent_id, %[1]s AS place FROM listings
    WHERE status = 'published' AND visibility = 'public' AND search @@ CAST(@match AS tsquery)
        AND NOT (SELECT yes FROM enough)
), open AS (
    SELECT agent_id, place FROM nearest WHERE (SELECT yes FROM enough)
    UNION ALL
    SELECT agent_id, place FROM hits WHERE (place, agent_id) < (@place, @agent)
)`,
	sqliteDialect: `open AS (
    SELECT agent_id, %[1]s AS place FROM listing_search JOIN listings ON listings.rowid = listing_search.rowid
    WHERE listing_search MATCH @match AND status = 'published' AND visibility = 'public'
        AND (%[1]s, agent_id) < (@place, @agent)
    ORDER BY %[1]s DESC, agent_id DESC LIMIT @limit
)`,
}

// matches is the condition that a listing that was found otherwise matches.
var matches = map[dialect]string{
	postgresDialect: `search @@ CAST(@match AS tsquery)`,
	sqliteDialect:   `listings.rowid IN (SELECT rowid FROM listing_search WHERE listing_search MATCH @match)`,
}

// listed reads the first listings after a place that match; an empty match is
// everything.
func (f search) listed(db *gorm.DB, match string, after marketplace.CatalogCursor, limit int) (rows []placed, err error) {
	open, other := openInOrder, "true"
	if match != "" {
		open, other = openMatching[f.dialect], matches[f.dialect]
	}
	values := map[string]any{
		"org": f.viewer.OrgID, "teams": append([]string{""}, textsOf(f.viewer.Teams)...),
		"users": []string{"", string(f.viewer.UserID)}, "now": at(f.now),
		"place": after.Key, "agent": after.Agent, "match": match, "limit": limit,
	}
	text := fmt.Sprintf(selectPlaced, f.place, fmt.Sprintf(open, f.place), other)
	return rows, db.Raw(text, values).Scan(&rows).Error
}

func textsOf[T ~string](list []T) []string {
	texts := make([]string, len(list))
	for i, one := range list {
		texts[i] = string(one)
	}
	return texts
}

// match is the expression of a tier, in the language of the database: every word
// of the query is the beginning of one in name, title or publisher (3), or in
// these, the summary and the labels (2), or anywhere (1), and the tier above does
// not hold. Tier 0 is anywhere, whatever holds besides.
func (f search) match(tier int) string {
	var parts []string
	if len(f.words) > 0 {
		words := func(tier int) string {
			each := make([]string, len(f.words))
			for i, word := range f.words {
				each[i] = f.beginning(tier, word)
			}
			return f.within(tier, each)
		}
		part := words(max(tier, 1))
		if tier == 1 || tier == 2 {
			part = fmt.Sprintf(without[f.dialect], part, words(tier+1))
		}
		parts = append(parts, part)
	}
	return f.filtered(parts)
}

// matchSimilar is the expression of listings that have, for each word of the
// query, one that begins with it, or one of those that are meant in name, title
// or publisher.
func (f search) matchSimilar(meant []map[string]float64) string {
	parts := make([]string, len(f.words))
	for i, word := range f.words {
		options := []string{f.within(1, []string{f.beginning(1, word)})}
		for _, other := range slices.Sorted(maps.Keys(meant[i])) {
			options = append(options, f.within(3, []string{f.exactly(3, other)}))
		}
		parts[i] = "(" + strings.Join(options, or[f.dialect]) + ")"
	}
	return f.filtered(parts)
}

// The languages: tsquery of PostgreSQL, and that of FTS5. Words are letters and
// digits, facets are checked by isFacet; nothing in them needs escaping.
var (
	and     = map[dialect]string{postgresDialect: " & ", sqliteDialect: " AND "}
	or      = map[dialect]string{postgresDialect: " | ", sqliteDialect: " OR "}
	without = map[dialect]string{postgresDialect: "(%s & !%s)", sqliteDialect: "(%s NOT %s)"}
	columns = map[int]string{3: "words_a", 2: "words_a words_b", 1: "words_a words_b words_c"}
)

// exactly is a word in the texts of a tier. On PostgreSQL the tier is part of what
// is indexed, on SQLite it is a choice of columns, which within makes.
func (f search) exactly(tier int, word string) string {
	if f.dialect == postgresDialect {
		return fmt.Sprintf("'%d:%s'", tier, word)
	}
	return `"` + word + `"`
}

// beginning is a word that begins with these letters.
func (f search) beginning(tier int, word string) string {
	if f.dialect == postgresDialect {
		return f.exactly(tier, word) + ":*"
	}
	return f.exactly(tier, word) + " *"
}

// within is that all terms hold in the texts of a tier.
func (f search) within(tier int, terms []string) string {
	all := "(" + strings.Join(terms, and[f.dialect]) + ")"
	if f.dialect == postgresDialect {
		return all
	}
	return fmt.Sprintf("({%s} : %s)", columns[tier], all)
}

// filtered is that all parts hold, and the facets.
func (f search) filtered(parts []string) string {
	for _, facet := range f.facets {
		if f.dialect == postgresDialect {
			parts = append(parts, "'"+facet+"'")
		} else {
			parts = append(parts, `({facets} : "`+facet+`")`)
		}
	}
	return strings.Join(parts, and[f.dialect])
}

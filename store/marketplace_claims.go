package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gorm.io/gorm"

	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
)

// maxRights bounds the rights in a claim. Those that hold come first, so that
// years of orders and grants that have ended hide none of them.
const maxRights = 50

// claimRow is one right of a claim, beside what is the same for all of them.
type claimRow struct {
	OrgID      string // the publisher
	Status     string // empty: the agent is not listed
	Visibility string
	Granted    bool
	Available  int64
	Currency   string
	Price      priceRow        `gorm:"embedded;embeddedPrefix:p_"`
	Right      entitlementRow  `gorm:"embedded;embeddedPrefix:e_"`
	Fixed      priceRow        `gorm:"embedded;embeddedPrefix:f_"`
	Installed  installationRow `gorm:"embedded;embeddedPrefix:i_"`
}

// teamsOfCaller, coveringRights and grantedToCaller are parts of the statements
// below. A right without a team is for everybody of the organization, one with a
// team for the people in it; a program is in no team.
const (
	teamsOfCaller  = `SELECT team_id FROM team_members WHERE org_id = @org AND user_id = @user`
	coveringRights = `
    SELECT id FROM entitlements
    WHERE org_id = @org AND agent_id = @agent AND user_id IN ('', @user)
        AND (team_id = '' OR team_id IN (` + teamsOfCaller + `))
    ORDER BY revoked_at IS NOT NULL, COALESCE(expires_at <= @at, FALSE), id DESC
    LIMIT @rights`
	grantedToCaller = `
    SELECT 1 FROM grants
    WHERE agent_id = @agent AND org_id = @org AND revoked_at IS NULL
        AND (expires_at IS NULL OR expires_at > @at)
        AND (team_id = '' OR team_id IN (` + teamsOfCaller + `)) AND user_id IN ('', @user)`
)

// The price of a claim: the one in effect, or that of a plan.
const (
	priceInEffect = `(SELECT id FROM prices WHERE agent_id = @agent AND effective_from <= @at
    ORDER BY effective_from DESC, id DESC LIMIT 1)`
	pricePlanned = `@price AND p.agent_id = @agent`
)

// selectClaim reads everything that decides about a start, by indexes only, and
// as a rule some ten rows. It is one statement so that it sees one moment.
func selectClaim(price string) string {
	return `
SELECT a.org_id, l.status, l.visibility, EXISTS (` + grantedToCaller + `) AS granted,
    w.balance_micros + w.credit_micros AS available, w.currency,
    ` + columnsAs("p", priceColumns) + `,
    ` + columnsAs("e", entitlementColumns) + `,
    ` + columnsAs("f", priceColumns) + `,
    ` + columnsAs("i", installationColumns) + `
FROM agents AS a
LEFT JOIN listings AS l ON l.agent_id = a.id
LEFT JOIN prices AS p ON p.id = ` + price + `
LEFT JOIN installations AS i ON i.org_id = @org AND i.agent_id = @agent
LEFT JOIN accounts AS w ON w.id = @wallet
LEFT JOIN entitlements AS e ON e.id IN (` + coveringRights + `)
LEFT JOIN prices AS f ON f.id = e.price_id
WHERE a.id = @agent
ORDER BY e.revoked_at IS NOT NULL, COALESCE(e.expires_at <= @at, FALSE), e.id DESC`
}

var (
	claimInEffect = selectClaim(priceInEffect)
	claimPlanned  = selectClaim(pricePlanned)
)

// columnsAs selects columns of a table under names with its prefix.
func columnsAs(table, columns string) string {
	names := columnNames(columns)
	for i, name := range names {
		names[i] = table + "." + name + " AS " + table + "_" + name
	}
	return strings.Join(names, ", ")
}

func columnNames(columns string) []string {
	return strings.FieldsFunc(columns, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })
}

// lockRights keeps others from using up what a claim is decided on. It is for
// PostgreSQL: the transactions of SQLite exclude each other anyway.
const lockRights = `
SELECT id FROM entitlements WHERE id IN (` + coveringRights + `)
ORDER BY id FOR UPDATE`

// Claim implements marketplace.EntitlementStore.
func (s *Marketplace) Claim(ctx context.Context, q marketplace.ClaimQuery) (marketplace.Claim, error) {
	c, err := claimIn(s.db.read.WithContext(ctx), s.db.dialect, q, false)
	return c, s.db.interpret(err, fmt.Sprintf("load claim of organization %s to agent %s", q.OrgID, q.AgentID))
}

// claimIn reads a claim in a transaction. With lock its entitlements stay as
// they are until the end of it. A right that came in between the two statements
// is locked in a second turn.
func claimIn(tx *gorm.DB, d dialect, q marketplace.ClaimQuery, lock bool) (marketplace.Claim, error) {
	if q.At.IsZero() {
		return marketplace.Claim{}, errors.New("a claim is made at a time")
	}
	values := map[string]any{
		"org": q.OrgID, "user": q.UserID, "agent": q.AgentID, "price": q.PriceID, "at": at(q.At), "rights": maxRights,
		"wallet": marketplace.AccountOf(marketplace.AccountWallet, q.OrgID),
	}
	if !lock || d != postgresDialect {
		return readClaim(tx, q, values)
	}
	for {
		var locked []string
		if err := tx.Raw(lockRights, values).Find(&locked).Error; err != nil {
			return marketplace.Claim{}, err
		}
		c, err := readClaim(tx, q, values)
		missing := slices.ContainsFunc(c.Entitlements, func(r marketplace.Right) bool {
			return !slices.Contains(locked, string(r.ID))
		})
		if err != nil || !missing {
			return c, err
		}
	}
}

func readClaim(tx *gorm.DB, q marketplace.ClaimQuery, values map[string]any) (marketplace.Claim, error) {
	statement := claimInEffect
	if q.PriceID != "" {
		statement = claimPlanned
	}
	var rows []claimRow
	if err := tx.Raw(statement, values).Find(&rows).Error; err != nil {
		return marketplace.Claim{}, err
	}
	if len(rows) == 0 {
		return marketplace.Claim{}, notFound("agent", string(q.AgentID))
	}
	first := rows[0]
	c := marketplace.Claim{
		OrgID: q.OrgID, AgentID: q.AgentID, Publisher: ids.Org(first.OrgID),
		Status: marketplace.ListingStatus(first.Status), Visibility: marketplace.Visibility(first.Visibility),
		Granted: first.Granted, Wallet: money.Of(first.Available, first.Currency),
	}
	var err error
	if c.Price, err = joinedPrice(first.Price, q.PriceID); err != nil {
		return marketplace.Claim{}, err
	}
	if first.Installed.OrgID != "" {
		i := installationFromRow(first.Installed)
		c.Installation = &i
	}
	for _, row := range rows {
		if row.Right.ID == "" {
			continue
		}
		right := marketplace.Right{Entitlement: entitlementFromRow(row.Right)}
		if right.Price, err = joinedPrice(row.Fixed, right.PriceID); err != nil {
			return marketplace.Claim{}, err
		}
		c.Entitlements = append(c.Entitlements, right)
	}
	return c, nil
}

// joinedPrice is the price of a LEFT JOIN, nil where there is none. One that is
// asked for and missing is an error: what is not found must not become free.
func joinedPrice(row priceRow, asked ids.Price) (p *marketplace.Price, err error) {
	switch {
	case row.ID != "":
		var found marketplace.Price
		found, err = priceFromRow(row)
		p = &found
	case asked != "":
		err = notFound("price", string(asked))
	}
	return p, err
}

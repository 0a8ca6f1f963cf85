package store

import (
	"strings"
	"time"

	"gorm.io/gorm"

	"agentmarket/ids"
	"agentmarket/product"
)

// nextOrg and nextRun find who is next for a limit: the organization with the fewest
// slots, of it the user with the fewest, and of his runs the most urgent, then the
// oldest. Of those with as many slots it is who got the last one longest ago. They
// hop over the index from one organization, and from one user, to the next, and look
// at no other run.
const (
	nextOrg = `
WITH RECURSIVE orgs AS (
    SELECT MIN(org_id) AS org_id FROM queue WHERE scope = @scope AND granted_at IS NULL
    UNION ALL
    SELECT (SELECT MIN(q.org_id) FROM queue AS q
        WHERE q.scope = @scope AND q.granted_at IS NULL AND q.org_id > orgs.org_id)
    FROM orgs WHERE orgs.org_id IS NOT NULL
)
SELECT orgs.org_id FROM orgs LEFT JOIN limits AS l ON l.scope = 'quota:' || orgs.org_id
WHERE orgs.org_id IS NOT NULL AND orgs.org_id NOT IN @orgs
ORDER BY COALESCE(l.running, 0), l.served_at NULLS FIRST, orgs.org_id LIMIT 1`
	nextRun = `
WITH RECURSIVE starters AS (
    SELECT MIN(starter) AS starter FROM queue WHERE scope = @scope AND granted_at IS NULL AND org_id = @org
    UNION ALL
    SELECT (SELECT MIN(q.starter) FROM queue AS q
        WHERE q.scope = @scope AND q.granted_at IS NULL AND q.org_id = @org AND q.starter > starters.starter)
    FROM starters WHERE starters.starter IS NOT NULL
)
SELECT ` + queueColumns + ` FROM starters
LEFT JOIN limits AS l ON l.scope = @users || starters.starter
JOIN queue ON queue.run_id = (
    SELECT q.run_id FROM queue AS q
    WHERE q.scope = @scope AND q.granted_at IS NULL AND q.org_id = @org AND q.starter = starters.starter
        AND q.team_id NOT IN @teams AND q.agent_id NOT IN @agents AND q.publisher_id NOT IN @publishers
    ORDER BY q.urgency, q.run_id LIMIT 1)
WHERE starters.starter IS NOT NULL AND starters.starter NOT IN @starters
ORDER BY COALESCE(l.running, 0), l.served_at NULLS FIRST, queue.run_id LIMIT 1`
)

// next finds who is next for a limit, besides those who are passed over; nil: nobody
// waits.
func next(tx *gorm.DB, scope string, p *passed) (*queueRow, error) {
	for !p.all {
		values := p.values()
		values["scope"] = scope
		var orgs []string
		if err := tx.Raw(nextOrg, values).Find(&orgs).Error; err != nil {
			return nil, err
		}
		if len(orgs) == 0 {
			break
		}
		org := ids.Org(orgs[0])
		values["org"], values["starters"], values["users"] = org, p.startersOf(org), scopeKey(product.UserScope(org, ""))
		var rows []queueRow
		if err := tx.Raw(nextRun, values).Find(&rows).Error; err != nil {
			return nil, err
		}
		if len(rows) > 0 {
			return &rows[0], nil
		}
		p.add(quotaScope(org))
	}
	return nil, nil //nolint:nilnil // nobody is next
}

// passed are the scopes that one hand-over passes over: enough of their runs wait
// for their own limit now.
type passed struct {
	scopes map[product.ScopeKind][]string
	all    bool
	sums   map[product.Scope]product.Usage
}

func newPassed() *passed {
	return &passed{scopes: map[product.ScopeKind][]string{}, sums: map[product.Scope]product.Usage{}}
}

// moved counts a run that waits for another limit now. When all of them would fill
// the limit whose room is handed over, others of that scope stay where they are.
func (p *passed) moved(run queueRow, s step, now time.Time) {
	sum := p.sums[s.other]
	sum.Running++
	sum.CPUMillis += run.CPUMillis
	sum.MemoryMiB += run.MemoryMiB
	p.sums[s.other] = sum
	filled := s.limit.usage(now)
	filled.Running += sum.Running
	filled.CPUMillis += sum.CPUMillis
	filled.MemoryMiB += sum.MemoryMiB
	if limitFromRow(s.limit).Blocks(filled, run.slot(now).resources()) != "" {
		p.add(s.other)
	}
}

func (p *passed) add(s product.Scope) {
	switch s.Kind {
	case product.ScopePlatform:
		p.all = true
	case product.ScopeQuota:
		s.Kind = product.ScopeOrganization // they have the same runs
	default:
	}
	p.scopes[s.Kind] = append(p.scopes[s.Kind], s.ID)
}

// nobody is no identifier: lists in SQL must not be empty.
const nobody = "-"

func (p *passed) values() map[string]any {
	of := func(kind product.ScopeKind) []string { return append([]string{nobody}, p.scopes[kind]...) }
	return map[string]any{
		"orgs": of(product.ScopeOrganization), "teams": of(product.ScopeTeam),
		"agents": of(product.ScopeAgent), "publishers": of(product.ScopePublisher),
	}
}

// startersOf are the users of an organization that are passed over.
func (p *passed) startersOf(org ids.Org) []string {
	list := []string{nobody}
	for _, id := range p.scopes[product.ScopeUser] {
		if of, user, _ := strings.Cut(id, "/"); of == string(org) {
			list = append(list, user)
		}
	}
	return list
}

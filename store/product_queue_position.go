package store

import (
	"cmp"

	"gorm.io/gorm"
)

// A position is the place of a run in the order in which slots will be handed over if
// nothing else happens: as if each run that is handed one counted for its
// organization and its user from then on. It is counted, and not found by sorting
// all who wait: of a rival with n runs in the queue, those come first that are handed
// out before the rival has as many slots as one's own side.

// side is an organization with runs in the queue of a limit, or a user of one.
type side struct {
	ID      string
	Waiting int
	Running int
	Served  stamp
	Head    string // who is next of it; empty where the identifier decides
}

const (
	orgsWaiting = `
SELECT w.org_id AS id, w.waiting, COALESCE(l.running, 0) AS running, l.served_at AS served
FROM (SELECT org_id, COUNT(*) AS waiting FROM queue WHERE scope = ? AND granted_at IS NULL GROUP BY org_id) AS w
LEFT JOIN limits AS l ON l.scope = 'quota:' || w.org_id`
	usersWaiting = `
SELECT w.starter AS id, w.waiting, COALESCE(l.running, 0) AS running, l.served_at AS served, (SELECT q.run_id FROM queue AS q
    WHERE q.scope = w.scope AND q.org_id = w.org_id AND q.starter = w.starter AND q.granted_at IS NULL
    ORDER BY q.urgency, q.run_id LIMIT 1) AS head
FROM (SELECT scope, org_id, starter, COUNT(*) AS waiting FROM queue
    WHERE scope = ? AND granted_at IS NULL AND org_id = ? GROUP BY scope, org_id, starter) AS w
LEFT JOIN limits AS l ON l.scope = 'user:' || w.org_id || '/' || w.starter`
	runsBefore = `
SELECT COUNT(*) FROM queue
WHERE scope = ? AND granted_at IS NULL AND org_id = ? AND starter = ? AND (urgency < ? OR urgency = ? AND run_id < ?)`
)

// position is the place of a run in the queue, from 1.
func position(tx *gorm.DB, run queueRow) (int, error) {
	var before int
	err := tx.Raw(runsBefore, run.Scope, run.OrgID, run.Starter, run.Urgency, run.Urgency, run.RunID).Scan(&before).Error
	if err != nil {
		return 0, err
	}
	var users, orgs []side
	if err := tx.Raw(usersWaiting, run.Scope, run.OrgID).Scan(&users).Error; err != nil {
		return 0, err
	}
	if err := tx.Raw(orgsWaiting, run.Scope).Scan(&orgs).Error; err != nil {
		return 0, err
	}
	return placeAmong(orgs, run.OrgID, placeAmong(users, run.Starter, before+1)), nil
}

// placeAmong is the place among all sides of the n-th run of one of them.
func placeAmong(sides []side, own string, n int) int {
	place, mine := n, side{ID: own}
	for _, s := range sides {
		if s.ID == own {
			mine = s
		}
	}
	for _, s := range sides {
		if s.ID == own {
			continue
		}
		// As many as it takes to have as many slots as this side before its n-th.
		first := n + mine.Running - s.Running
		if s.Running < mine.Running || s.Running == mine.Running && compareSides(s, mine) > 0 {
			first--
		}
		place += min(s.Waiting, max(0, first))
	}
	return place
}

// compareSides says which of two sides with as many slots is next: who was served
// longest ago.
func compareSides(a, b side) int {
	return cmp.Or(a.Served.t.Compare(b.Served.t), cmp.Compare(a.Head, b.Head), cmp.Compare(a.ID, b.ID))
}

package store

import (
	"context"

	"gorm.io/gorm"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// artifactRow stands for a body that may be in the blob store.
type artifactRow struct {
	ID          string `gorm:"primaryKey"`
	RunID       string
	Attempt     int
	Name        string
	ContentType string
	Size        int64
	SHA256      string `gorm:"column:sha256"`
	Kept        bool
	CreatedAt   stamp
}

func (artifactRow) TableName() string { return "run_artifacts" }

func rowFromArtifact(a product.Artifact) artifactRow {
	return artifactRow{
		ID: string(a.ID), RunID: string(a.RunID), Attempt: a.Attempt, Name: a.Name, ContentType: a.ContentType,
		Size: a.Blob.Size, SHA256: a.Blob.SHA256, CreatedAt: at(a.CreatedAt),
	}
}

func artifactFromRow(r artifactRow) product.Artifact {
	run, id := ids.Run(r.RunID), ids.Artifact(r.ID)
	return product.Artifact{
		ID: id, RunID: run, Attempt: r.Attempt, Name: r.Name, ContentType: r.ContentType,
		Blob: product.Blob{Key: product.ArtifactKey(run, id), Size: r.Size, SHA256: r.SHA256}, CreatedAt: r.CreatedAt.t,
	}
}

// whileOpen changes what belongs to an attempt that goes on; the run is locked.
func (s *Runs) whileOpen(ctx context.Context, doing string, run ids.Run, attempt int, change func(tx *gorm.DB) error) error {
	_, err := s.db.updateRun(ctx, doing, run, func(r *product.Run) ([]*product.Event, error) {
		return nil, r.Open(attempt)
	}, func(tx *gorm.DB, _ *runChange) (func() error, error) {
		return nothing, change(tx)
	})
	return err
}

// BeginArtifact implements product.SessionStore.
func (s *Runs) BeginArtifact(ctx context.Context, a product.Artifact) error {
	row := rowFromArtifact(a)
	return s.whileOpen(ctx, "begin artifact "+row.ID, a.RunID, a.Attempt, func(tx *gorm.DB) error {
		var n int64
		if err := tx.Model(&artifactRow{}).Where("run_id = ?", row.RunID).Count(&n).Error; err != nil {
			return err
		}
		if n >= product.MaxArtifacts {
			return refuse(fault.Newf(fault.TooLarge, "too_many_artifacts", "a run stores artifacts %d times at most", product.MaxArtifacts))
		}
		return tx.Create(&row).Error
	})
}

const sumArtifacts = `SELECT CAST(COALESCE(SUM(size), 0) AS bigint) FROM run_artifacts WHERE run_id = ? AND kept`

// FinishArtifact implements product.SessionStore.
func (s *Runs) FinishArtifact(ctx context.Context, a product.Artifact) (*product.Artifact, error) {
	row := rowFromArtifact(a)
	row.Kept = true
	var replaced *product.Artifact
	err := s.whileOpen(ctx, "finish artifact "+row.ID, a.RunID, a.Attempt, func(tx *gorm.DB) error {
		replaced = nil
		var before []artifactRow
		err := tx.Where("run_id = ? AND attempt = ? AND name = ? AND kept", row.RunID, row.Attempt, row.Name).Find(&before).Error
		if err != nil {
			return err
		}
		for _, old := range before {
			artifact := artifactFromRow(old)
			replaced = &artifact
			// It stays a row for as long as its body may be there.
			if err := tx.Model(&artifactRow{}).Where("id = ?", old.ID).Update("kept", false).Error; err != nil {
				return err
			}
		}
		var sum int64
		if err := tx.Raw(sumArtifacts, row.RunID).Scan(&sum).Error; err != nil {
			return err
		}
		if sum+row.Size > product.MaxArtifactBytes {
			return refuse(fault.Newf(fault.TooLarge, "artifacts_too_large", "the artifacts of a run have at most %d bytes", product.MaxArtifactBytes))
		}
		return tx.Select("size", "sha256", "kept").Updates(&row).Error
	})
	return replaced, err
}

// Artifacts implements product.SessionStore.
func (s *Runs) Artifacts(ctx context.Context, run ids.Run) ([]product.Artifact, error) {
	return s.artifacts(ctx, run, true)
}

// AllArtifacts implements product.SessionStore.
func (s *Runs) AllArtifacts(ctx context.Context, run ids.Run) ([]product.Artifact, error) {
	return s.artifacts(ctx, run, false)
}

func (s *Runs) artifacts(ctx context.Context, run ids.Run, kept bool) ([]product.Artifact, error) {
	query := s.db.read.WithContext(ctx).Where("run_id = ?", run)
	if kept {
		query = query.Where("kept")
	}
	var rows []artifactRow
	if err := query.Order("attempt DESC, name, id").Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list artifacts of run "+string(run))
	}
	artifacts := make([]product.Artifact, len(rows))
	for i, row := range rows {
		artifacts[i] = artifactFromRow(row)
	}
	return artifacts, nil
}

// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// publish copies the finished disk into the output folder and writes its papers beside it. Each file takes its final
// name only when it is whole; the manifest comes last.
func (r *build) publish(ctx context.Context, output string) (Artefact, error) {
	dir, err := filepath.Abs(output)
	if err != nil {
		return Artefact{}, fmt.Errorf("output folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Artefact{}, fmt.Errorf("output folder: %w", err)
	}
	base := filepath.Join(dir, fmt.Sprintf("%s-%s-amd64", r.flavor.id(), r.version))
	a := Artefact{Image: base + ".qcow2", Checksum: base + ".qcow2.sha256", SBOM: base + ".spdx.json", Manifest: base + ".nodeimage.yaml"}
	sum, err := os.ReadFile(filepath.Join(r.disk, diskSum))
	if err != nil {
		return Artefact{}, err
	}
	a.SHA256 = string(sum)
	if err := r.copyImage(ctx, &a); err != nil {
		return Artefact{}, fmt.Errorf("writing the image: %w", err)
	}
	checksum := fmt.Sprintf("%s  %s\n", a.SHA256, filepath.Base(a.Image))
	if err := os.WriteFile(a.Checksum, []byte(checksum), 0o644); err != nil {
		return Artefact{}, fmt.Errorf("writing the checksum: %w", err)
	}
	return a, r.writePapers(a)
}

// copyImage puts the disk into the output folder, unless it is already there, and notes its size.
func (r *build) copyImage(ctx context.Context, a *Artefact) error {
	from := filepath.Join(r.disk, diskImage)
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	a.Bytes = info.Size()
	if sum, err := assembly.FileDigest(a.Image); err == nil && sum == a.SHA256 {
		return nil
	}
	part := a.Image + ".part"
	if err := (assembly.Tool{Name: "cp", Args: []string{"--reflink=auto", "--sparse=never", from, part}}).Run(ctx); err != nil {
		return err
	}
	return os.Rename(part, a.Image)
}

// writePapers writes the SBOM and the NodeImage manifest of a finished image.
func (r *build) writePapers(a Artefact) error {
	in, err := r.sbomInput(a.SHA256)
	if err != nil {
		return err
	}
	bill, err := sbom(in)
	if err != nil {
		return err
	}
	if err := os.WriteFile(a.SBOM, bill, 0o644); err != nil {
		return fmt.Errorf("writing the SBOM: %w", err)
	}
	manifest, err := r.manifest(a, fmt.Sprintf("%x", sha256.Sum256(bill)))
	if err != nil {
		return err
	}
	if err := os.WriteFile(a.Manifest, manifest, 0o644); err != nil {
		return fmt.Errorf("writing the NodeImage manifest: %w", err)
	}
	return nil
}

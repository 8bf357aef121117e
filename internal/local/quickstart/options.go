// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package quickstart

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
)

// Names of what the quickstart makes in its management cluster.
const (
	clusterName  = "quickstart"
	namespace    = "default"
	endpointName = "local"
)

// maxWorkers is how many workers a trial on one machine may have.
const maxWorkers = 5

// Options say what the quickstart makes, and where.
type Options struct {
	// Repo is the root of the checkout.
	Repo string
	// State is the folder that holds everything of the quickstart; Down removes it. The path must be short, because
	// sockets live in it.
	State string
	// Cache is the folder for programs and images, which other runs reuse. Down leaves it.
	Cache string
	// ControlPlanes and Workers are the numbers of control plane and worker Machines. Without workers nothing is replaced.
	ControlPlanes, Workers int
	// KubernetesVersion is the version that the cluster runs, with a leading v.
	KubernetesVersion string
	// FromImage and ToImage are the versions of the node image before and after the replacement.
	FromImage, ToImage string
	// Yes installs missing packages without asking.
	Yes bool
	// In answers questions; it may be nil when Yes is set.
	In io.Reader
	// Out receives what a person reads.
	Out io.Writer
	// Clock measures the stages.
	Clock clock.Clock
}

// DefaultState is the folder of the quickstart where the caller names none: $XDG_STATE_HOME/ingot, or the same below the
// home folder.
func DefaultState() (string, error) {
	base := os.Getenv("XDG_STATE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("no place for the state: %w; set XDG_STATE_HOME, or --state", err)
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "ingot"), nil
}

// validate says what is wrong with the options before anything is made.
func (o *Options) validate() error {
	if o.KubernetesVersion != components.KubernetesVersion {
		return fmt.Errorf("version %s of Kubernetes is not available: the node image of this version of Ingot carries %s. Use --kubernetes-version %s",
			o.KubernetesVersion, components.KubernetesVersion, components.KubernetesVersion)
	}
	if o.ControlPlanes != 1 && o.ControlPlanes != 3 {
		return fmt.Errorf("--control-planes %d: use 1 or 3", o.ControlPlanes)
	}
	if o.Workers < 0 || o.Workers > maxWorkers {
		return fmt.Errorf("--workers %d: use 0 to %d", o.Workers, maxWorkers)
	}
	if o.FromImage == o.ToImage {
		return errors.New("the two image versions are the same: there would be nothing to upgrade to")
	}
	return nil
}

// path is a path below the state folder.
func (o *Options) path(elements ...string) string {
	return filepath.Join(append([]string{o.State}, elements...)...)
}

// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package setup

import (
	"fmt"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/metrics"
)

// newMetrics returns what the manager tells Prometheus beside what every manager does.
func newMetrics(mgr ctrl.Manager, o *Options) *metrics.Metrics {
	return metrics.New(metrics.Sources{
		Reader:           mgr.GetClient(),
		Elected:          mgr.Elected(),
		WatchFilterValue: o.WatchFilter,
		Clock:            clock.RealClock{},
		Log:              mgr.GetLogger().WithName("metrics"),
	})
}

// export puts the metrics where the manager serves them, until they are withdrawn. They are those of the infrastructure
// role: the others have neither endpoints nor machines.
func export(m *metrics.Metrics, o *Options) (withdraw func(), err error) {
	if !o.runs(RoleInfrastructure) {
		return func() {}, nil
	}
	withdraw, err = m.Register(ctrlmetrics.Registry)
	if err != nil {
		return nil, fmt.Errorf("metrics: one process can run the infrastructure role once at a time: %w", err)
	}
	return withdraw, nil
}

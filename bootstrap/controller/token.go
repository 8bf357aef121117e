// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"math/big"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	bootstraputil "k8s.io/cluster-bootstrap/token/util"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
)

const (
	// tokenTTL is how long a token that nobody renews is good for.
	tokenTTL = 15 * time.Minute
	// withdrawPatience is how long the deletion of a config waits for a workload cluster that does not answer. After
	// that the token is left to expire, which it does within tokenTTL, since nobody renews it any more.
	withdrawPatience = time.Minute
	// tokenCheck is how often the token of a machine that has not joined is looked at.
	tokenCheck = tokenTTL / 5
	// withdrawRetry is how soon a withdrawal is tried again.
	withdrawRetry = 10 * time.Second
	// joinersGroup is the group that kubeadm gives the right to join.
	joinersGroup = "system:bootstrappers:kubeadm:default-node-token"
)

// tokenAlphabet is what tokens are made of.
const tokenAlphabet = "abcdefghijklmnopqrstuvwxyz0123456789"

// newToken makes a token. Its public part follows from the config, so that a config has at most one at a time.
func newToken(uid types.UID) (string, error) {
	secret := make([]byte, bootstrapapi.BootstrapTokenSecretBytes)
	for i := range secret {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(tokenAlphabet))))
		if err != nil {
			return "", err
		}
		secret[i] = tokenAlphabet[n.Int64()]
	}
	return bootstraputil.TokenFromIDAndSecret(tokenID(uid), string(secret)), nil
}

func tokenID(uid types.UID) string {
	sum := sha256.Sum256([]byte(uid))
	id := make([]byte, bootstrapapi.BootstrapTokenIDBytes)
	for i := range id {
		id[i] = tokenAlphabet[int(sum[i])%len(tokenAlphabet)]
	}
	return string(id)
}

// joinsByToken is whether the machine joins by a token of its own. Machines of Talos share one, which is among the secrets of
// their cluster.
func (w *world) joinsByToken() bool { return w.config.Spec.Talos == nil }

// loan is the token of a config.
type loan struct {
	id, secret string
	// description marks the token in the workload cluster as this config's.
	description string
}

// loan reads the token from the data, which are written before a token is lent. It is false where there is none.
func (w *world) loan() (loan, bool) {
	if w.data == nil {
		return loan{}, false
	}
	id, secret, found := strings.Cut(string(w.data.Data[tokenKey]), ".")
	return loan{id: id, secret: secret, description: fmt.Sprintf("lent to IngotConfig %s/%s", w.config.Namespace, w.config.Name)}, found
}

func (l loan) key() client.ObjectKey {
	return client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: bootstraputil.BootstrapTokenSecretName(l.id)}
}

// owns is whether a Secret of the workload cluster is this token. The first node makes its own, without our mark.
func (l loan) owns(s *corev1.Secret) bool {
	return string(s.Data[bootstrapapi.BootstrapTokenDescriptionKey]) == l.description ||
		string(s.Data[bootstrapapi.BootstrapTokenSecretKey]) == l.secret
}

func (l loan) toSecret(expires time.Time) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.key().Namespace, Name: l.key().Name},
		Type:       bootstrapapi.SecretTypeBootstrapToken,
		Data: map[string][]byte{
			bootstrapapi.BootstrapTokenIDKey:               []byte(l.id),
			bootstrapapi.BootstrapTokenSecretKey:           []byte(l.secret),
			bootstrapapi.BootstrapTokenExpirationKey:       []byte(expires.UTC().Format(time.RFC3339)),
			bootstrapapi.BootstrapTokenUsageSigningKey:     []byte("true"),
			bootstrapapi.BootstrapTokenUsageAuthentication: []byte("true"),
			bootstrapapi.BootstrapTokenExtraGroupsKey:      []byte(joinersGroup),
			bootstrapapi.BootstrapTokenDescriptionKey:      []byte(l.description),
		},
	}
}

// keepToken keeps the token good until the node has joined, and takes it back then.
func (r *Reconciler) keepToken(ctx context.Context, w *world) flow.Outcome {
	switch {
	case w.joined() && !controllerutil.ContainsFinalizer(w.config, bootstrapv1.IngotConfigFinalizer):
		return flow.Advance("", "")
	case w.joined():
		if err := r.annotate(ctx, w); err != nil {
			ctrl.LoggerFrom(ctx).Info("Cannot annotate the Node yet", "reason", err.Error())
			return flow.Wait(bootstrapv1.WorkloadClusterUnreachableReason, "", withdrawRetry)
		}
		if err := r.withdraw(ctx, w); err != nil {
			ctrl.LoggerFrom(ctx).Info("Cannot withdraw the join token yet", "reason", err.Error())
			return flow.Wait(bootstrapv1.WorkloadClusterUnreachableReason, "", withdrawRetry)
		}
		controllerutil.RemoveFinalizer(w.config, bootstrapv1.IngotConfigFinalizer)
		return flow.Advance("", "")
	case w.leaving() || w.role() == bootstrapv1.RoleInit || !w.joinsByToken():
		return flow.Advance("", "")
	}
	if outcome := r.lend(ctx, w); !outcome.Done() {
		return outcome
	}
	return flow.Wait("", "", tokenCheck)
}

// lend makes sure that the token is in the workload cluster and good for a while. Whoever removed it, the same token
// comes back, because the machine knows no other. The first node brings its own.
func (r *Reconciler) lend(ctx context.Context, w *world) flow.Outcome {
	if w.role() == bootstrapv1.RoleInit || !w.joinsByToken() {
		return flow.Advance("", "")
	}
	workload, err := r.Workload.GetUncachedClient(ctx, w.clusterKey())
	if err != nil {
		return unreachable(w)
	}
	if err := r.renew(ctx, workload, w); err != nil {
		return flow.Fail(bootstrapv1.WorkloadClusterUnreachableReason, "making the join token in the workload cluster failed; the manager's log says why", err)
	}
	return flow.Advance("", "")
}

// unreachable waits for a workload cluster that cannot be prepared for the machine.
func unreachable(w *world) flow.Outcome {
	return flow.Wait(bootstrapv1.WorkloadClusterUnreachableReason,
		fmt.Sprintf("Cluster %s does not answer, so no join token can be made there", w.cluster.Name), secretRetry)
}

// renew writes only where the token is missing or more than half of its time is over.
func (r *Reconciler) renew(ctx context.Context, workload client.Client, w *world) error {
	l, ok := w.loan()
	if !ok {
		return fmt.Errorf("no token in key %[3]s of Secret %[1]s/%[2]s: delete the Secret, it is made again", w.config.Namespace, w.config.Name, tokenKey)
	}
	now := r.Clock.Now()
	wanted := l.toSecret(now.Add(tokenTTL))
	found := &corev1.Secret{}
	err := workload.Get(ctx, l.key(), found)
	switch {
	case apierrors.IsNotFound(err):
		return workload.Create(ctx, wanted)
	case err != nil:
		return err
	case !l.owns(found):
		return fmt.Errorf("bootstrap token %s exists and is not this config's: delete Secret %s in the workload cluster", l.id, l.key())
	}
	expires, err := time.Parse(time.RFC3339, string(found.Data[bootstrapapi.BootstrapTokenExpirationKey]))
	current := string(found.Data[bootstrapapi.BootstrapTokenSecretKey]) == l.secret
	if err == nil && current && expires.Sub(now) > tokenTTL/2 {
		return nil
	}
	before := client.MergeFrom(found.DeepCopy())
	found.Data = wanted.Data
	return workload.Patch(ctx, found, before)
}

// withdraw removes the token from the workload cluster, unless that is going away as a whole.
func (r *Reconciler) withdraw(ctx context.Context, w *world) error {
	l, lent := w.loan()
	if !lent || w.cluster == nil || !w.cluster.DeletionTimestamp.IsZero() {
		return nil
	}
	workload, err := r.Workload.GetUncachedClient(ctx, w.clusterKey())
	if err != nil {
		return err
	}
	found := &corev1.Secret{}
	if err := workload.Get(ctx, l.key(), found); err != nil {
		return client.IgnoreNotFound(err)
	}
	if !l.owns(found) {
		return nil
	}
	return client.IgnoreNotFound(workload.Delete(ctx, found, client.Preconditions{UID: &found.UID}))
}

// release lets a config go once its token is withdrawn. It never waits long: a token that cannot be withdrawn expires,
// and a cluster that never answered has none.
func (r *Reconciler) release(ctx context.Context, w *world) flow.Outcome {
	if !controllerutil.ContainsFinalizer(w.config, bootstrapv1.IngotConfigFinalizer) {
		return flow.Advance("", "")
	}
	err := r.withdraw(ctx, w)
	if err != nil && w.initialized() && r.Clock.Since(w.config.DeletionTimestamp.Time) < withdrawPatience {
		ctrl.LoggerFrom(ctx).Info("Cannot withdraw the join token yet", "reason", err.Error())
		return flow.Wait(bootstrapv1.WorkloadClusterUnreachableReason, "", withdrawRetry)
	}
	controllerutil.RemoveFinalizer(w.config, bootstrapv1.IngotConfigFinalizer)
	return flow.Advance("", "")
}

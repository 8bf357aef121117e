// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kairos has Kairos' own code judge what Ingot renders for it: the schema of its SDK, and yip, which executes the
// stages. It reads the golden files of the family, which hold the very bytes, and has the family render whatever texts a person
// may write. It is a module of its own, because that code brings more dependencies than all of Ingot has for the purpose, and a
// replacement that users of Ingot's module would have to repeat. What the family refuses is tested beside the family.
package kairos

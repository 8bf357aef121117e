// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package rehearsal restores a snapshot of etcd, to try whether it can be: it checks the file, restores it with etcd's own
// library, starts etcd on what was restored, and reads through it.
//
// All of that happens in a child process, which is this program again (Child, Main). etcd's library ends the process it runs
// in when it meets data that it does not understand, a database is mapped into memory, where a damaged file ends the process
// too, and an index of all keys is held; a manager must survive the first two, and need not keep the third. Whoever uses
// Child calls Main where IsChild says so, before anything else.
//
// What lives here: the child, and who starts it. What never will: taking, fetching and storing snapshots, and any etcd that
// somebody else could reach: the child listens on sockets in its scratch folder only.
package rehearsal

// The peers that run in Node, each in a process of its own; the messages are those of worker.py.
//
// node node.mjs CLASS DIRECTORY

import { createHash } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { createInterface } from "node:readline"

const require = createRequire(import.meta.url)

class Cannot extends Error {}

const lines = (file) => readFileSync(file, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line))

/** mingo: a query language over an array. */
class Mingo {
  constructor(directory) {
    this.Query = require("mingo").Query
    this.file = join(directory, "films.ndjson")
  }

  fill(documents) {
    writeFileSync(this.file, documents.map((document) => JSON.stringify(document)).join("\n"))
    this.open()
  }

  open() {
    this.documents = lines(this.file)
  }

  find(question, args, { filter, projection, sort, limit }) {
    let cursor = new this.Query(filter).find(this.documents, projection)
    if (sort) cursor = cursor.sort(sort)
    if (limit) cursor = cursor.limit(limit)
    return JSON.stringify(cursor.all())
  }

  update() {
    throw new Cannot("no writes")
  }

  insert = this.update
  batch = this.update
  delete = this.update
  close() {}
}

/** LokiJS with its own file adapter: a write is done when the file is written. */
class Loki {
  constructor(directory) {
    this.path = join(directory, "loki.json")
  }

  async database() {
    const Database = require("lokijs")
    const database = new Database(this.path, { adapter: new Database.LokiFsAdapter() })
    await new Promise((resolve, reject) => database.loadDatabase({}, (error) => (error ? reject(error) : resolve())))
    return database
  }

  save() {
    return new Promise((resolve, reject) => this.db.saveDatabase((error) => (error ? reject(error) : resolve())))
  }

  async fill(documents) {
    this.db = await this.database()
    this.films = this.db.addCollection("films")
    this.films.insert(documents)
    await this.save()
  }

  async open() {
    this.db = await this.database()
    this.films = this.db.getCollection("films")
  }

  find(question, args, { filter, projection, sort, limit }) {
    // An array is searched by its members only where $contains says so, and a field has one condition at a time.
    if (question === "member") filter = { genres: { $contains: args[0] } }
    if (question === "prefix") filter = { title: { $regex: new RegExp(`^${args[0]}`) } }
    const conditions = Object.entries(filter).flatMap(([field, condition]) =>
      typeof condition === "object"
        ? Object.entries(condition).map(([operator, operand]) => ({ [field]: { [operator]: operand } }))
        : [{ [field]: condition }],
    )
    filter = conditions.length > 1 ? { $and: conditions } : (conditions[0] ?? {})
    let found = this.films.chain().find(filter)
    if (sort) found = found.compoundsort(Object.entries(sort).map(([field, way]) => [field, way < 0]))
    if (limit) found = found.limit(limit)
    if (projection) found = found.map(({ _id, title, amount }) => ({ _id, title, amount }), { dontClone: true })
    return JSON.stringify(found.data())
  }

  async update(code) {
    const film = this.films.findOne({ code })
    film.votes += 1
    this.films.update(film)
    await this.save()
  }

  async insert(document) {
    this.films.insert(document)
    await this.save()
  }

  async batch(documents, schema) {
    if (schema) throw new Cannot("no schemas")
    this.db.removeCollection("batch")
    this.db.addCollection("batch").insert(documents)
    await this.save()
    this.db.removeCollection("batch")
  }

  async delete(low, high) {
    const found = this.films.chain().find({ $and: [{ amount: { $gte: low } }, { amount: { $lt: high } }] })
    const count = found.count()
    found.remove()
    await this.save()
    return count
  }

  close() {}
}

/** NeDB: everything in memory, each write appended to a file. */
class Nedb {
  constructor(directory) {
    this.directory = directory
  }

  async database(name) {
    const Datastore = require("@seald-io/nedb")
    const database = new Datastore({ filename: join(this.directory, name) })
    await database.loadDatabaseAsync()
    return database
  }

  async fill(documents) {
    await this.open()
    await this.films.insertAsync(documents)
  }

  async open() {
    this.films = await this.database("films.nedb")
  }

  async find(question, args, { filter, projection, sort, limit }) {
    if (question === "prefix") filter = { title: { $regex: new RegExp(`^${args[0]}`) } }
    let cursor = this.films.findAsync(filter, projection ?? {})
    if (sort) cursor = cursor.sort(sort)
    if (limit) cursor = cursor.limit(limit)
    return JSON.stringify(await cursor)
  }

  async update(code) {
    await this.films.updateAsync({ code }, { $inc: { votes: 1 } })
  }

  async insert(document) {
    await this.films.insertAsync(document)
  }

  async batch(documents, schema) {
    if (schema) throw new Cannot("no schemas")
    const batch = await this.database(`batch${process.hrtime.bigint()}.nedb`)
    await batch.insertAsync(documents)
  }

  delete(low, high) {
    return this.films.removeAsync({ amount: { $gte: low, $lt: high } }, { multi: true })
  }

  close() {}
}

const seconds = () => Number(process.hrtime.bigint()) / 1e9

const median = (values) => {
  const sorted = values.sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

const asked = new Map()
let updated = 0
let inserted = 0

const messages = {
  async fill(subject, { file }) {
    await subject.fill(lines(file))
    return {}
  },

  async open(subject) {
    const before = process.memoryUsage.rss()
    const started = seconds()
    await subject.open()
    return { seconds: seconds() - started, bytes: process.memoryUsage.rss() - before }
  },

  async answer(subject, { question, variant }) {
    const started = seconds()
    const text = await subject.find(question, variant.arguments, variant.find)
    const taken = seconds() - started
    const found = JSON.parse(text).map((document) => document._id)
    const identities = variant.find.sort ? found : found.sort()
    const digest = createHash("sha1").update(identities.join("\n")).digest("hex")
    return { count: found.length, digest, seconds: taken }
  },

  async ask(subject, { question, variants, least }) {
    const taken = []
    let total = 0
    let at = asked.get(question) ?? 0
    while (total < least && taken.length < 500) {
      const variant = variants[at++ % variants.length]
      const started = seconds()
      await subject.find(question, variant.arguments, variant.find)
      taken.push(seconds() - started)
      total += taken.at(-1)
    }
    asked.set(question, at)
    return { seconds: median(taken) }
  },

  async update(subject, { codes, least }) {
    const started = seconds()
    let written = 0
    while (!written || seconds() - started < least) {
      await subject.update(codes[updated++ % codes.length])
      written++
    }
    return { seconds: (seconds() - started) / written }
  },

  async insert(subject, { documents, threads, seconds: length }) {
    if (threads > 1) throw new Cannot("one thread")
    const started = seconds()
    let written = 0
    while (!written || seconds() - started < length) {
      const template = structuredClone(documents[written % documents.length])
      await subject.insert({ ...template, _id: `new${inserted++}` })
      written++
    }
    return { seconds: (seconds() - started) / written }
  },

  async batch(subject, { file, size, schema }) {
    const documents = lines(file).slice(0, size)
    const started = seconds()
    await subject.batch(documents, schema)
    return { seconds: (seconds() - started) / documents.length }
  },

  async delete(subject, { low, high }) {
    const started = seconds()
    const count = await subject.delete(low, high)
    return { seconds: seconds() - started, count }
  },

  async close(subject) {
    subject.close()
    return {}
  },
}

const [, , name, directory] = process.argv
const subject = new { Mingo, Loki, Nedb }[name](directory)
for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line)
  let answer
  try {
    answer = await messages[message.do](subject, message)
  } catch (error) {
    answer = error instanceof Cannot ? { cannot: error.message } : { error: String(error) }
  }
  process.stdout.write(JSON.stringify(answer) + "\n")
}

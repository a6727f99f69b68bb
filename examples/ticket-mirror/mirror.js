// @ts-check
// A copy of all tickets, kept right by their versions.
//
// Events come at least once, late, and in any order. Each carries the whole ticket and its version, which rises by one with
// every change: the highest version seen is the truth, whatever came when. A ledger restored from a backup raises its lineage and
// may have gone back, so a copy begins anew with it.

/** @typedef {import('../../events/schemas/events.js').TicketUpdated} Ticket */

export class Mirror {
  /** @type {Map<string, Ticket>} */
  tickets = new Map();
  lineage = -1;
  /** Events that told nothing new. */
  repeated = 0;

  /**
   * Takes in one event. Answers whether the copy changed.
   * @param {(name: string) => string} header
   * @param {Ticket} ticket
   */
  take(header, ticket) {
    if (header('ce-specversion') !== '1.0' || !header('ce-type').startsWith('ticket:')) return false;
    const lineage = Number(header('holdfast-lineage'));
    if (lineage > this.lineage) {
      this.tickets.clear();
      this.lineage = lineage;
    }
    const known = this.tickets.get(ticket.id);
    if (lineage < this.lineage || (known && known.version >= ticket.version)) {
      this.repeated += 1;
      return false;
    }
    this.tickets.set(ticket.id, ticket);
    return true;
  }

  /** The copy, in the order of the ids: the order of creation. */
  list() {
    return [...this.tickets.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }
}

// Types of Holdfast's events. Generated from events/src/wire/types.rs by a test; do not edit.

/** A ticket was put on sale. */
export interface TicketCreated {
  currency: string;
  id: string;
  /** The order that has locked or bought it. */
  orderId?: string;
  price: number;
  /** The version of the change that set the price: equal to `version`, this event tells of it. */
  priceVersion: number;
  /** Who has a ticket. */
  status: 'available' | 'locked' | 'offered' | 'sold' | 'withdrawn';
  title: string;
  /** The seller. */
  userId: string;
  /** Rises by one with every change; 0 when created. */
  version: number;
}

/** A ticket changed: its listing, who has it, or that it was withdrawn. */
export interface TicketUpdated {
  currency: string;
  id: string;
  /** The order that has locked or bought it. */
  orderId?: string;
  price: number;
  /** The version of the change that set the price: equal to `version`, this event tells of it. */
  priceVersion: number;
  /** Who has a ticket. */
  status: 'available' | 'locked' | 'offered' | 'sold' | 'withdrawn';
  title: string;
  /** The seller. */
  userId: string;
  /** Rises by one with every change; 0 when created. */
  version: number;
}

/** A buyer locked tickets. */
export interface OrderCreated {
  currency: string;
  /** When the lock is over, by ledger time. */
  expiresAt: string;
  id: string;
  /** Of a cancelled order. */
  reason?: 'buyer' | 'expired' | 'payment_failed' | 'banned' | 'withdrawn' | 'operator';
  /** Where an order stands. */
  status: 'created' | 'awaiting:payment' | 'complete' | 'cancelled';
  /** The ticket, in an order of one. */
  ticket?: {
    id: string;
    price: number;
  };
  tickets: Array<{
    id: string;
    price: number;
  }>;
  /** The buyer. */
  userId: string;
  /** Rises by one with every change; 0 when created. */
  version: number;
}

/** An order ended without a sale; its tickets are free again. */
export interface OrderCancelled {
  currency: string;
  /** When the lock is over, by ledger time. */
  expiresAt: string;
  id: string;
  /** Of a cancelled order. */
  reason?: 'buyer' | 'expired' | 'payment_failed' | 'banned' | 'withdrawn' | 'operator';
  /** Where an order stands. */
  status: 'created' | 'awaiting:payment' | 'complete' | 'cancelled';
  /** The ticket, in an order of one. */
  ticket?: {
    id: string;
    price: number;
  };
  tickets: Array<{
    id: string;
    price: number;
  }>;
  /** The buyer. */
  userId: string;
  /** Rises by one with every change; 0 when created. */
  version: number;
}

/** A lock ran out. Told beside order:cancelled, with its version. */
export interface ExpirationComplete {
  orderId: string;
}

/** A payment was authorised and completed its order; the money is taken next. */
export interface PaymentCreated {
  amount: number;
  /** 1 for the order's first. */
  attempt: number;
  currency: string;
  /** The provider's code of a decline or of a capture that failed. */
  failure?: string;
  id: string;
  /** What the payments service does next. */
  next?: 'authorize' | 'capture' | 'void' | 'refund';
  orderId: string;
  /** Where a payment stands with the provider. */
  status: 'requested' | 'authorized' | 'captured' | 'capture_failed' | 'declined' | 'voided' | 'refunded';
  /** The provider's id of the charge, whoever the provider is; the name is the original's. */
  stripeId?: string;
  /** The buyer. */
  userId: string;
  /** Rises by one with every change; 0 when requested. */
  version: number;
}

/** An order changed: its deadline, or the bank is being asked. */
export interface OrderUpdated {
  currency: string;
  /** When the lock is over, by ledger time. */
  expiresAt: string;
  id: string;
  /** Of a cancelled order. */
  reason?: 'buyer' | 'expired' | 'payment_failed' | 'banned' | 'withdrawn' | 'operator';
  /** Where an order stands. */
  status: 'created' | 'awaiting:payment' | 'complete' | 'cancelled';
  /** The ticket, in an order of one. */
  ticket?: {
    id: string;
    price: number;
  };
  tickets: Array<{
    id: string;
    price: number;
  }>;
  /** The buyer. */
  userId: string;
  /** Rises by one with every change; 0 when created. */
  version: number;
}

/** An order is paid for; its tickets are sold. */
export interface OrderCompleted {
  currency: string;
  /** When the lock is over, by ledger time. */
  expiresAt: string;
  id: string;
  /** Of a cancelled order. */
  reason?: 'buyer' | 'expired' | 'payment_failed' | 'banned' | 'withdrawn' | 'operator';
  /** Where an order stands. */
  status: 'created' | 'awaiting:payment' | 'complete' | 'cancelled';
  /** The ticket, in an order of one. */
  ticket?: {
    id: string;
    price: number;
  };
  tickets: Array<{
    id: string;
    price: number;
  }>;
  /** The buyer. */
  userId: string;
  /** Rises by one with every change; 0 when created. */
  version: number;
}

/** An order that had run out is complete: the bank's late answer found its tickets still free. */
export interface OrderReinstated {
  currency: string;
  /** When the lock is over, by ledger time. */
  expiresAt: string;
  id: string;
  /** Of a cancelled order. */
  reason?: 'buyer' | 'expired' | 'payment_failed' | 'banned' | 'withdrawn' | 'operator';
  /** Where an order stands. */
  status: 'created' | 'awaiting:payment' | 'complete' | 'cancelled';
  /** The ticket, in an order of one. */
  ticket?: {
    id: string;
    price: number;
  };
  tickets: Array<{
    id: string;
    price: number;
  }>;
  /** The buyer. */
  userId: string;
  /** Rises by one with every change; 0 when created. */
  version: number;
}

/** A buyer asked to pay. */
export interface PaymentRequested {
  amount: number;
  /** 1 for the order's first. */
  attempt: number;
  currency: string;
  /** The provider's code of a decline or of a capture that failed. */
  failure?: string;
  id: string;
  /** What the payments service does next. */
  next?: 'authorize' | 'capture' | 'void' | 'refund';
  orderId: string;
  /** Where a payment stands with the provider. */
  status: 'requested' | 'authorized' | 'captured' | 'capture_failed' | 'declined' | 'voided' | 'refunded';
  /** The provider's id of the charge, whoever the provider is; the name is the original's. */
  stripeId?: string;
  /** The buyer. */
  userId: string;
  /** Rises by one with every change; 0 when requested. */
  version: number;
}

/** A payment moved on. */
export interface PaymentUpdated {
  amount: number;
  /** 1 for the order's first. */
  attempt: number;
  currency: string;
  /** The provider's code of a decline or of a capture that failed. */
  failure?: string;
  id: string;
  /** What the payments service does next. */
  next?: 'authorize' | 'capture' | 'void' | 'refund';
  orderId: string;
  /** Where a payment stands with the provider. */
  status: 'requested' | 'authorized' | 'captured' | 'capture_failed' | 'declined' | 'voided' | 'refunded';
  /** The provider's id of the charge, whoever the provider is; the name is the original's. */
  stripeId?: string;
  /** The buyer. */
  userId: string;
  /** Rises by one with every change; 0 when requested. */
  version: number;
}

/** Somebody signed up. */
export interface UserCreated {
  banned: boolean;
  /** Tokens that carry a lower epoch are no longer honoured. */
  epoch: number;
  /** Its personal data is gone. */
  erased: boolean;
  id: string;
  /** The address is known to be the user's. */
  verified: boolean;
  /** Rises by one with every change; 0 when created. */
  version: number;
}

/** An account changed. */
export interface UserUpdated {
  banned: boolean;
  /** Tokens that carry a lower epoch are no longer honoured. */
  epoch: number;
  /** Its personal data is gone. */
  erased: boolean;
  id: string;
  /** The address is known to be the user's. */
  verified: boolean;
  /** Rises by one with every change; 0 when created. */
  version: number;
}

/** An account was banned: its tokens are no longer honoured. */
export interface UserBanned {
  banned: boolean;
  /** Tokens that carry a lower epoch are no longer honoured. */
  epoch: number;
  /** Its personal data is gone. */
  erased: boolean;
  id: string;
  /** The address is known to be the user's. */
  verified: boolean;
  /** Rises by one with every change; 0 when created. */
  version: number;
}

/** Somebody asked for a link to choose a new password. */
export interface UserResetRequested {
  /** When the request is over, by ledger time. */
  expiresAt: string;
  /** The account. */
  id: string;
  requestId: string;
  /** The account's, which the request raises by one. */
  version: number;
}

/** A user asked for a link to confirm his address. */
export interface UserVerificationRequested {
  /** When the request is over, by ledger time. */
  expiresAt: string;
  /** The account. */
  id: string;
  requestId: string;
  /** The account's, which the request raises by one. */
  version: number;
}

/** A buyer stands in the line for a ticket that somebody else has. */
export interface LineJoined {
  id: string;
  /** Of an offer: when it is over, by ledger time. */
  offeredUntil?: string;
  /** Of a place that was taken: the order that locked the ticket. */
  orderId?: string;
  /** Of a place that was left. */
  reason?: 'user' | 'banned' | 'erased' | 'closed';
  /** Where a place in a line stands. */
  status: 'waiting' | 'offered' | 'taken' | 'left' | 'passed';
  ticketId: string;
  /** Who waits. */
  userId: string;
  /** Rises by one with every change; 0 when joined. */
  version: number;
}

/** The ticket is free again and kept for the next in line. */
export interface LineOffered {
  id: string;
  /** Of an offer: when it is over, by ledger time. */
  offeredUntil?: string;
  /** Of a place that was taken: the order that locked the ticket. */
  orderId?: string;
  /** Of a place that was left. */
  reason?: 'user' | 'banned' | 'erased' | 'closed';
  /** Where a place in a line stands. */
  status: 'waiting' | 'offered' | 'taken' | 'left' | 'passed';
  ticketId: string;
  /** Who waits. */
  userId: string;
  /** Rises by one with every change; 0 when joined. */
  version: number;
}

/** The buyer to whom it was offered has locked the ticket. */
export interface LineTaken {
  id: string;
  /** Of an offer: when it is over, by ledger time. */
  offeredUntil?: string;
  /** Of a place that was taken: the order that locked the ticket. */
  orderId?: string;
  /** Of a place that was left. */
  reason?: 'user' | 'banned' | 'erased' | 'closed';
  /** Where a place in a line stands. */
  status: 'waiting' | 'offered' | 'taken' | 'left' | 'passed';
  ticketId: string;
  /** Who waits. */
  userId: string;
  /** Rises by one with every change; 0 when joined. */
  version: number;
}

/** A place in the line is gone: given up, or there is nothing to wait for any more. */
export interface LineLeft {
  id: string;
  /** Of an offer: when it is over, by ledger time. */
  offeredUntil?: string;
  /** Of a place that was taken: the order that locked the ticket. */
  orderId?: string;
  /** Of a place that was left. */
  reason?: 'user' | 'banned' | 'erased' | 'closed';
  /** Where a place in a line stands. */
  status: 'waiting' | 'offered' | 'taken' | 'left' | 'passed';
  ticketId: string;
  /** Who waits. */
  userId: string;
  /** Rises by one with every change; 0 when joined. */
  version: number;
}

/** An offer ran out and went to the next in line. */
export interface LinePassed {
  id: string;
  /** Of an offer: when it is over, by ledger time. */
  offeredUntil?: string;
  /** Of a place that was taken: the order that locked the ticket. */
  orderId?: string;
  /** Of a place that was left. */
  reason?: 'user' | 'banned' | 'erased' | 'closed';
  /** Where a place in a line stands. */
  status: 'waiting' | 'offered' | 'taken' | 'left' | 'passed';
  ticketId: string;
  /** Who waits. */
  userId: string;
  /** Rises by one with every change; 0 when joined. */
  version: number;
}

/** The body of each type of event, by the header `ce-type`. */
export interface Events {
  'ticket:created': TicketCreated;
  'ticket:updated': TicketUpdated;
  'order:created': OrderCreated;
  'order:cancelled': OrderCancelled;
  'expiration:complete': ExpirationComplete;
  'payment:created': PaymentCreated;
  'order:updated': OrderUpdated;
  'order:completed': OrderCompleted;
  'order:reinstated': OrderReinstated;
  'payment:requested': PaymentRequested;
  'payment:updated': PaymentUpdated;
  'user:created': UserCreated;
  'user:updated': UserUpdated;
  'user:banned': UserBanned;
  'user:reset_requested': UserResetRequested;
  'user:verification_requested': UserVerificationRequested;
  'line:joined': LineJoined;
  'line:offered': LineOffered;
  'line:taken': LineTaken;
  'line:left': LineLeft;
  'line:passed': LinePassed;
}

export type EventType = keyof Events;

/** The headers of every message; 64-bit numbers are decimal digits. */
export interface EventHeaders {
  'ce-type': EventType;
  'ce-specversion': string;
  'ce-id': string;
  'ce-source': string;
  'ce-subject': string;
  'ce-time': string;
  'ce-dataschema': string;
  'content-type': string;
  'holdfast-seq': string;
  'holdfast-version': string;
  'holdfast-lineage': string;
  'holdfast-log-index': string;
  'traceparent': string;
}

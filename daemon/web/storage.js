// @ts-check
// Marks that outlive the page, as far as the browser lets pages store anything.

class Marks {
  #storage;

  /** @param {() => Storage} storage throws where it is forbidden */
  constructor(storage) {
    this.#storage = storage;
  }

  /** @param {string} name */
  set(name) {
    this.#use((storage) => storage.setItem(name, '1'));
  }

  /** @param {string} name */
  clear(name) {
    this.#use((storage) => storage.removeItem(name));
  }

  /** @param {string} name */
  has(name) {
    return this.#use((storage) => storage.getItem(name) !== null) === true;
  }

  /**
   * @template T
   * @param {(storage: Storage) => T} work
   * @returns {T | undefined}
   */
  #use(work) {
    try {
      return work(this.#storage());
    } catch {
      return undefined;
    }
  }
}

/** Kept until it is cleared. */
export const inBrowser = new Marks(() => localStorage);
/** Kept as long as the tab, across reloads. */
export const inTab = new Marks(() => sessionStorage);
